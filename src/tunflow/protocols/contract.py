"""What a protocol is to the rest: a manifest, its servers as values, and the way out that they make.

Five nouns, from the outside in:

- a `Protocol` is the manifest: data only, cheap to import. Links, `--server`'s help, imports, profile tables, redaction
  and the documentation come from it (`registry`);
- `Settings` are one server as a frozen value: made once, where a link, a file or a table enters, and passed on;
- an `OutboundContext` is what a protocol may use of the world: randomness, the time, TLS, and the hop before it;
- an `Outbound` is a way out: it is asked for the stream to a target, or for a way for datagrams;
- a `CodecRoute` is a stream's way as data: the addresses that one socket connects to, and the codec that speaks on it.

Everything here is pure: an outbound opens nothing. Whoever asked it opens the socket and drives the codec (`codec`).
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import dataclass
from enum import Flag, auto

from tunflow.endpoint import Address, Endpoint
from tunflow.errors import RemoteError
from tunflow.flow import FlowInfo
from tunflow.protocols.chain import ChainedDatagrams, ChainedStream
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.codec import DatagramCodec, StreamCodec
from tunflow.protocols.link import Link

if typing.TYPE_CHECKING:
    import ssl


class Blocked(RemoteError):
    """The way out refuses the target by policy."""


class NoDatagrams(Blocked):
    """The way out carries no datagrams at all."""


class Carries(Flag):
    """What a way out can carry."""

    STREAMS = auto()
    DATAGRAMS = auto()
    PACKETS = auto()
    """Whole IP packets: a packet tunnel."""
    NAMES = auto()
    """Targets may be host names: the far end looks them up, and nothing has to be resolved here."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """The manifest of a protocol. `registry` finds it by scheme, by a Clash file's `type`, or by a file's bytes."""

    name: str
    """As profiles have it in `type = "…"`."""
    schemes: tuple[str, ...]
    """Those of its links, in lower case."""
    carries: Carries
    link_shape: str
    """How its links read, for help and errors."""
    summary: str
    """One sentence for the table in docs/proxies.md."""
    module: str
    """Where its `SETTINGS` is, a class of `Settings`; imported when the protocol is first used."""
    other_schemes: tuple[str, ...] = ()
    """Other programs' spellings, which are read and never written."""
    clash: frozenset[str] = frozenset()
    """Values of `type` in the proxies of a Clash file."""
    looks_like: Callable[[bytes], bool] | None = None
    """Return True if a file's content is this protocol's own format."""
    serves: bool = False
    """Whether `tunflow serve` can be the other end."""


class Settings(typing.Protocol):
    """One server as a value, without any state: equal settings mean the same server."""

    @property
    def label(self) -> str:
        """The server as logs name it, without a secret."""

    @property
    def tag(self) -> str | None:
        """What the user calls it."""

    @property
    def first_hop(self) -> tuple[str, int] | None:
        """Host (an address or a name) and port that a socket connects to; None where there is no server."""

    @property
    def wants_programs(self) -> bool:
        """Return True if the way out differs by the program that a flow belongs to."""

    @classmethod
    def from_link(cls, link: Link) -> Settings:
        """The server that a link names. Raises LocalError: one line without the password."""

    @classmethod
    def from_clash(cls, entry: ClashEntry) -> Settings:
        """The server of an entry of a Clash file. Raises LocalError that names the key."""

    def to_link(self) -> str:
        """The link; it holds the secrets. `from_link` makes an equal server of it."""

    def outbound(self, context: OutboundContext) -> Outbound:
        """The way out through this server. Raises LocalError for secrets that are none."""


@typing.runtime_checkable
class PacketTunnel(typing.Protocol):
    """Settings of a protocol that carries packets: a provider serves it, for a whole program or the whole machine."""

    @property
    def provider(self) -> str:
        """The name of its extension point's class (entry points `tunflow.providers`)."""

    @property
    def provider_configuration(self) -> dict[str, object]:
        """What that provider is given; it holds the secrets."""


class CodecRoute(typing.NamedTuple):
    """A stream's way: the addresses to try in order, and the codec on the stream (None: flow bytes are wire bytes)."""

    addresses: tuple[Address, ...]
    codec: StreamCodec | None
    label: str
    """The outbound's, for the log."""

    def over(self, codec: StreamCodec, label: str) -> CodecRoute:
        """The way on which `codec` speaks inside of what is there already."""
        return CodecRoute(self.addresses, codec if self.codec is None else ChainedStream(self.codec, codec), label)


class DatagramRoute(typing.NamedTuple):
    """How datagrams leave: to the first of `addresses` with a codec, or with neither to each target itself."""

    addresses: tuple[Address, ...]
    codec: DatagramCodec | None
    label: str

    def over(self, codec: DatagramCodec, server: Endpoint, label: str) -> DatagramRoute:
        """The way on which `codec` speaks with `server` inside of what is there already."""
        inside = codec if self.codec is None else ChainedDatagrams(self.codec, codec, server)
        return DatagramRoute(self.addresses, inside, label)


class Association(typing.NamedTuple):
    """A way for datagrams that servers give on request, and only as long as a stream to each of them stands.

    It is no route: whoever took it for one would send past the servers.
    """

    controls: tuple[CodecRoute, ...]
    settle: Callable[[Address], DatagramRoute]
    """Makes the route once all of `controls` stand, the first of them to this address. Raises BadPacket when a server
    gave no place to send to."""
    label: str


class NameQuestion(typing.NamedTuple):
    """A question that a server answers itself: the stream that asks it, and what it said once that is established."""

    route: CodecRoute
    answer: Callable[[], Endpoint | None]


class NameSource(typing.Protocol):
    """A server that looks names up by its own protocol (Tor)."""

    def resolve(self, name: str) -> NameQuestion:
        """Ask for an address of a name. Raises LocalError for a name that cannot be asked."""

    def resolve_pointer(self, address: bytes) -> NameQuestion:
        """Ask for the name of an address."""


class Outbound(typing.Protocol):
    """A way out for flows."""

    label: str
    """All servers on the way, for the log."""
    carries: Carries
    wants_flow: bool
    """Whether `stream` should be told the flow: making its description costs something."""
    addresses: tuple[Address, ...]
    """Those of the first server; empty where there is none."""
    resolver: NameSource | None

    def stream(self, target: Endpoint, flow: FlowInfo | None = None) -> CodecRoute:
        """The way to `target`; `flow` tells whose it is, where that matters (`wants_flow`).

        Raises Blocked, and ProxyRefused where the server is known to refuse.
        """

    def datagrams(self) -> DatagramRoute | Association:
        """The way for one client socket's datagrams, to any target, or how to ask for it. Raises Blocked."""


class TLSSettings(typing.Protocol):
    """Makes a client's TLS settings."""

    def __call__(self, *alpn: str, verified: bool = True) -> ssl.SSLContext:
        """Settings that offer `alpn` and trust what the system trusts; unless `verified`, they take any certificate."""


@dataclass(frozen=True, slots=True)
class OutboundContext:
    """What a protocol may use of the world outside."""

    random_bytes: Callable[[int], bytes]
    """Fit for keys and salts."""
    unix_time: Callable[[], float]
    """Seconds since 1970."""
    tls: TLSSettings
    """Makes a client's TLS settings, which trust what the system trusts."""
    address_of: Callable[[Endpoint], Address]
    """The socket address of a packed-address endpoint."""
    below: Outbound
    """The hop before this one, or what connects straight to it."""
