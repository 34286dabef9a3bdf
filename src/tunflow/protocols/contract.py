"""What a protocol is to the rest: a manifest, its servers as values, and the way out that they make.

Five nouns, from the outside in:

- a `Protocol` is the manifest: data only, cheap to import. Links, `--server`'s help, imports, profile tables, redaction
  and the documentation come from it (`registry`);
- `Settings` are one server as a frozen value: made once, where a link, a file or a table enters, and passed on;
- an `OutboundContext` is what a protocol may use of the world: randomness, the time, TLS, and the hop before it;
- an `Outbound` is a way out: it is asked for the stream to a target, or for a way for datagrams;
- a `CodecRoute` is a stream's way as data: the addresses that one socket connects to, and the codec that speaks on it;
  a `ConduitRoute` is one in a `Session` that many share, which a `SessionCarrier` runs.

Everything here is pure: an outbound opens nothing. Whoever asked it opens the socket and drives the codec (`codec`).
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Flag, auto

from tunflow.conduit import Conduit
from tunflow.endpoint import Address, Buffer, Endpoint
from tunflow.errors import BadPacket, LocalError, RemoteError
from tunflow.flow import FlowInfo
from tunflow.protocols.chain import ChainedDatagrams, ChainedStream, FramedInside
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.codec import Datagram, DatagramCodec, StreamCodec, StreamDatagramCodec
from tunflow.protocols.link import Link
from tunflow.protocols.server_addresses import ServerAddresses
from tunflow.protocols.session import MachineSession, PluginProgram, SSHLogin
from tunflow.protocols.stream_session import StreamSession

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
    """Return True if a file's content is this protocol's own format; its `SETTINGS` is `FromFile`, too."""
    serves: bool = False
    """True if `tunflow serve` can be the other end."""


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
class FromFile(typing.Protocol):
    """A class of settings of a protocol that has files of its own."""

    def from_file(self, content: bytes, name: str, read: Callable[[str], bytes]) -> Settings:
        """The server of a file that errors call `name`; `read` gives other files that it names.

        Raises LocalError that begins with the name and the line.
        """


@typing.runtime_checkable
class ListensByUDP(typing.Protocol):
    """A class of settings of a protocol whose servers take no TCP connection, by which others show that they live."""

    @property
    def takes_datagrams_only(self) -> bool:
        """Return True if that is so of this server."""


@typing.runtime_checkable
class StandsOnProgram(typing.Protocol):
    """A class of settings of a protocol whose servers may be reached by a program of this machine."""

    @property
    def program(self) -> PluginProgram | None:
        """That program; None where none is needed."""


class Tunnels(typing.Protocol):
    """Who runs packet tunnels, so that flows go through them."""

    def open(self, server: PacketTunnel, below: Outbound) -> Outbound:
        """The way out through a packet tunnel that is reached by `below`."""


class Sessions(typing.Protocol):
    """Who keeps connections to servers that many flows share."""

    def over_datagrams(self, server: MachineSession, below: Outbound) -> Outbound:
        """The way out by streams and datagrams of a connection that is reached by `below`."""

    def over_ssh(self, login: SSHLogin, below: Outbound) -> Outbound:
        """The way out by channels of an SSH connection. Raises LocalError for keys that cannot be read."""

    def over_program(self, program: PluginProgram, server: Endpoint, below: Outbound) -> Outbound:
        """The way to `server` by a program that reaches it by `below`. Raises LocalError where it is not there."""


@typing.runtime_checkable
class PacketTunnel(typing.Protocol):
    """Settings of a protocol that carries packets: a provider serves it, for a whole program or the whole machine."""

    @property
    def label(self) -> str:
        """As `Settings.label`."""

    @property
    def first_hop(self) -> tuple[str, int] | None:
        """As `Settings.first_hop`."""

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
    server: ServerAddresses | None = None
    """Who is told which of the addresses worked; None where they are the target's own."""

    def over(self, codec: StreamCodec, label: str) -> CodecRoute:
        """The way on which `codec` speaks inside of what is there already."""
        inside = codec if self.codec is None else ChainedStream(self.codec, codec)
        return CodecRoute(self.addresses, inside, label, self.server)


NotDialled = int | OSError | BadPacket
"""Why there is no stream: the errno of an attempt to reach the target, what kept the session's server from being
reached, or what that server did."""
Dialled = Callable[[Conduit | None, NotDialled], None]
"""Told once: a stream that stands, or None and why there is none."""


class SessionCarrier(typing.Protocol):
    """Who carries sessions: the loop, as protocols see it."""

    @property
    def now(self) -> float:
        """Seconds, in the loop's time."""

    def call_soon(self, call: Callable[[], None]) -> None:
        """Call in the next round."""

    def carry(self, route: StreamRoute, session: StreamSession) -> None:
        """Open a stream by `route` and run `session` on it until it is over."""


class ConduitRoute(typing.NamedTuple):
    """A stream's way that is no socket: a stream of a session that many share."""

    dial: Callable[[Dialled, SessionCarrier], Callable[[], None]]
    """Begins to open it, and returns what gives that up; `Dialled` is not called from within. A session that has to be
    begun for it is run by the carrier."""
    codec: StreamCodec | None
    label: str
    """The outbound's, for the log."""
    trouble: Callable[[], str | None] = lambda: None
    """Says what is wrong with the session, once it could not be used."""

    def over(self, codec: StreamCodec, label: str) -> ConduitRoute:
        """The way on which `codec` speaks inside of what is there already."""
        inside = codec if self.codec is None else ChainedStream(self.codec, codec)
        return ConduitRoute(self.dial, inside, label, self.trouble)


StreamRoute = CodecRoute | ConduitRoute
"""How a stream is reached: by a socket, or in a session."""


class DatagramRoute(typing.NamedTuple):
    """How datagrams leave: to the first of `addresses` with a codec, or with neither to each target itself."""

    addresses: tuple[Address, ...]
    codec: DatagramCodec | None
    label: str
    server: ServerAddresses | None = None
    """As `CodecRoute.server`."""

    def over(self, codec: DatagramCodec, server: Endpoint, label: str) -> DatagramRoute:
        """The way on which `codec` speaks with `server` inside of what is there already."""
        inside = codec if self.codec is None else ChainedDatagrams(self.codec, codec, server)
        return DatagramRoute(self.addresses, inside, label, self.server)


class FramedStream(typing.NamedTuple):
    """A stream for datagrams, and the frames that they stand in."""

    route: StreamRoute
    frames: StreamDatagramCodec


def refuses_none(_target: Endpoint) -> str | None:
    """Return None: datagrams may go to anybody."""
    return None


class FramedDatagrams(typing.NamedTuple):
    """A way for datagrams in streams, which no UDP socket serves."""

    open: Callable[[Endpoint], FramedStream]
    """Makes the stream that begins with a datagram to this target. Raises LocalError for a name that cannot be told."""
    is_per_target: bool
    """True if a stream carries the datagrams to and from that target only; else those of all."""
    label: str
    refuses: Callable[[Endpoint], str | None] = refuses_none
    """Says why nothing is carried to a target; None for one that datagrams may go to."""

    def over(self, codec: DatagramCodec, server: Endpoint, label: str) -> FramedDatagrams:
        """The way on which `codec` speaks with `server` inside of what is there already."""

        def begin(_target: Endpoint) -> FramedStream:
            route, frames = self.open(server)
            return FramedStream(route, FramedInside(frames, codec, server))

        return FramedDatagrams(begin, is_per_target=False, label=label, refuses=lambda _target: self.refuses(server))


class DatagramConduit(typing.Protocol):
    """Datagrams both ways by what is no UDP socket of this host."""

    @property
    def is_resting(self) -> bool:
        """True if all is dropped for a while, since nobody was there."""

    def send(self, target: Endpoint, payloads: Sequence[Buffer]) -> int:
        """Send datagrams to `target`, which may be a name. Return how many were dropped.

        Raises OSError when there is no descriptor for it, LocalError for a name that cannot be told.
        """

    def close(self) -> None:
        """Give everything back."""


class SharedDatagrams(typing.NamedTuple):
    """A way for datagrams in a session that many share."""

    open: Callable[[Callable[[Sequence[Datagram]], None]], DatagramConduit]
    """Makes the way of one client socket, which tells what arrives."""
    label: str

    def over(self, codec: DatagramCodec, server: Endpoint, label: str) -> SharedDatagrams:
        """The way on which `codec` speaks with `server` inside of what is there already."""
        return SharedDatagrams(lambda received: SealedConduit(self.open, codec, server, received), label)


class SealedConduit:
    """Datagrams that a codec seals for its server, on a conduit. As `DatagramConduit`."""

    def __init__(
        self,
        below: Callable[[Callable[[Sequence[Datagram]], None]], DatagramConduit],
        codec: DatagramCodec,
        server: Endpoint,
        received: Callable[[Sequence[Datagram]], None],
    ) -> None:
        self._codec = codec
        self._server = server
        self._received = received
        self._conduit = below(self._heard)

    @property
    def is_resting(self) -> bool:
        """As `DatagramConduit.is_resting`."""
        return self._conduit.is_resting

    def send(self, target: Endpoint, payloads: Sequence[Buffer]) -> int:
        """As `DatagramConduit.send`."""
        return self._conduit.send(self._server, [self._codec.seal(target, payload) for payload in payloads])

    def close(self) -> None:
        """As `DatagramConduit.close`."""
        self._conduit.close()

    def _heard(self, datagrams: Sequence[Datagram]) -> None:
        opened = []
        for each in datagrams:
            try:
                opened.append(Datagram(*self._codec.open_untrusted(each.payload)))
            except BadPacket:
                continue
        if opened:
            self._received(opened)


class Association(typing.NamedTuple):
    """A way for datagrams that servers give on request, and only as long as a stream to each of them stands.

    It is no route: whoever took it for one would send past the servers.
    """

    controls: tuple[StreamRoute, ...]
    route_after: Callable[[Address], StandingWay]
    """Makes the way once all of `controls` stand, the first of them to this address. Raises BadPacket when a server
    gave no place to send to."""
    label: str


StandingWay = DatagramRoute | FramedDatagrams | SharedDatagrams
"""How datagrams leave: by a UDP socket, in streams, or in a session."""
DatagramWay = StandingWay | Association
"""One of those, or what servers have to be asked for first."""


class NameQuestion(typing.NamedTuple):
    """A question that a server answers itself: the stream that asks it, and what it said once that is established."""

    route: StreamRoute
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
    """True if `stream` should be told the flow: making its description costs something."""
    server: ServerAddresses | None
    """Where the first server is; None where there is none."""
    resolver: NameSource | None

    def stream(self, target: Endpoint, flow: FlowInfo | None = None) -> StreamRoute:
        """The way to `target`; `flow` tells whose it is, where that matters (`wants_flow`).

        Raises Blocked, and ProxyRefused where the server is known to refuse.
        """

    def datagrams(self) -> DatagramWay:
        """The way for one client socket's datagrams, to any target, or how to ask for it. Raises Blocked."""


class TLSSettings(typing.Protocol):
    """Makes a client's TLS settings."""

    def __call__(
        self, *alpn: str, verified: bool = True, identity: tuple[str, str | None] | None = None
    ) -> ssl.SSLContext:
        """Settings that offer `alpn` and trust what the system trusts; unless `verified`, they take any certificate.

        `identity` are the files of the client's certificate and of its key. Raises LocalError for files that are none.
        """


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
    tunnels: Tunnels | None = None
    """Who runs packet tunnels; None where nobody does."""
    sessions: Sessions | None = None
    """Who keeps sessions; None where nobody does."""

    def tunnel(self, server: PacketTunnel) -> Outbound:
        """The way out through a packet tunnel. Raises LocalError where nobody runs one."""
        if self.tunnels is None:
            raise LocalError(f"{server.label} carries packets, which only run, up and attach take apart")
        return self.tunnels.open(server, self.below)

    def session_keeper(self, label: str) -> Sessions:
        """Who keeps sessions. Raises LocalError where nobody does, in the name of the server `label`."""
        if self.sessions is None:
            raise LocalError(f"{label} is a connection that flows share, which nobody keeps here")
        return self.sessions
