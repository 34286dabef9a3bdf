"""Connections to a server that many flows share, as protocols describe them (`outbound.sessions` keeps them).

A protocol that speaks in datagrams brings a pure `SessionMachine`; SSH brings what its client needs to know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from tunflow.conduit import Conduit
from tunflow.endpoint import Buffer, Endpoint
from tunflow.machine import Timed
from tunflow.protocols.codec import Datagram, StreamCodec


class SessionFlow(Protocol):
    """The datagrams of one client socket in a session. As `contract.DatagramConduit`."""

    @property
    def is_resting(self) -> bool:
        """As `DatagramConduit.is_resting`."""

    def send(self, target: Endpoint, payloads: Sequence[Buffer]) -> int:
        """Send datagrams to `target`, which may be a name. Return how many were dropped."""

    def close(self) -> None:
        """Nobody sends any more."""


class SessionMachine(Timed, Protocol):
    """One connection by datagrams, without I/O; it is used once.

    What `receive_untrusted` and `handle_timeout` bring about is in `stands`, `over` and `changed` afterwards; what is
    to be sent, also after calls of its streams and flows, is drained by `outgoing` while `has_output`.
    """

    @property
    def stands(self) -> bool:
        """True if the server took us: streams and flows may be opened."""

    @property
    def over(self) -> str | None:
        """Why it ended, in words; None while it goes on."""

    @property
    def heard_at(self) -> float | None:
        """When something that decodes last came; None before the first."""

    @property
    def is_used(self) -> bool:
        """True if there are streams or flows."""

    @property
    def is_drained(self) -> bool:
        """True if the server has all that was sent on streams."""

    @property
    def has_output(self) -> bool:
        """True if `outgoing` may have something."""

    @property
    def changed(self) -> list[Conduit]:
        """Streams whose users are to be told; the caller empties it."""

    def connect(self, now: float) -> None:
        """Begin."""

    def receive_untrusted(self, datagram: Buffer, now: float) -> None:
        """Take a datagram from the server; what does not decode is dropped."""

    def outgoing(self, now: float) -> list[bytes]:
        """Datagrams to send."""

    def open_stream(self) -> Conduit:
        """A stream of bytes, whose codec says what it is for."""

    def open_flow(self, received: Callable[[Sequence[Datagram]], None]) -> SessionFlow:
        """A way for datagrams; `received` is called from within `receive_untrusted`."""

    def close(self, now: float) -> None:
        """End it in order: the last datagrams say so."""


class MachineSession(NamedTuple):
    """How a server is spoken to by a `SessionMachine`."""

    label: str
    server: Endpoint
    link: str
    """The server's link: what tells it from others, with its secrets."""
    machine: Callable[[int], SessionMachine]
    """Makes the machine of one connection, whose datagrams have so many bytes at most."""
    stream_to: Callable[[Endpoint], StreamCodec]
    """What is said on a stream to a target."""
    datagrams: bool = True
    """True if it carries datagrams."""
    ports: tuple[int, ...] = ()
    """The server's ports, where there are several between which clients hop."""
    hop_every: float = 30.0
    """Seconds on one of them."""


class PluginProgram(NamedTuple):
    """A program that carries a server's streams by a way of its own (SIP003)."""

    programs: tuple[str, ...]
    """Its names or its path; the first that is found is started."""
    package: str
    """Debian's package of it, "" where there is none."""
    options: str
    """As it takes them (SS_PLUGIN_OPTIONS)."""


@dataclass(frozen=True, slots=True)
class SSHLogin:
    """What an SSH client needs to know."""

    label: str
    server: Endpoint
    link: str
    """As `MachineSession.link`."""
    user: str | None = None
    """Whom the server knows us as; None for the name of this process's user."""
    password: str | None = field(default=None, repr=False)
    keys: tuple[str, ...] = ()
    """Files of private keys, or their text; none for those of ~/.ssh and the agent's."""
    passphrase: str | None = field(default=None, repr=False)
    """Of the keys."""
    host_keys: tuple[str, ...] = ()
    """The server's key as `SHA256:…` or as a line of a public key; none for what known_hosts says."""
    known_hosts: str | None = None
    """The file; None for ~/.ssh/known_hosts."""
