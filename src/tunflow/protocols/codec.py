"""What a proxy protocol is to the driver: two pure translations.

A `StreamCodec` stands between a flow's bytes and the bytes on the socket to the server; a `DatagramCodec` does the
same for datagrams. Codecs nest: the wire bytes of one are the flow bytes of the next, which is how a chain of
servers is made. They do no I/O and keep no copy of what passes.

Some servers answer before they carry anything, and may refuse (SOCKS, HTTP CONNECT, TLS); others are never asked
(Shadowsocks). The difference is one attribute, `established`, and one way to drive both:

1. connected: send `seal([])` if the codec is not established; the flow itself waits;
2. whatever arrives goes through `open_untrusted`; while the codec is not established, send `seal([])` after it;
3. once established, flow bytes may be sealed. A refusal is `ProxyRefused`, from `open_untrusted`.

A codec may be established before the last answer came; it then learns of a refusal later, if ever. Shadowsocks starts
out that way.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket


class Refusal(Enum):
    """What became of a request, in the terms in which a client's own connection attempt can fail."""

    REFUSED = "the target refused the connection"
    NET_UNREACHABLE = "the target's network is unreachable"
    HOST_UNREACHABLE = "the target is unreachable"
    TIMED_OUT = "the target did not answer"
    PROHIBITED = "the server's rules forbid the target"
    UNSUPPORTED = "the server cannot do this"
    CREDENTIALS = "the server does not accept the user name and password"
    CERTIFICATE = "the server's certificate is not valid"
    FAILED = "the server failed"

    @property
    def is_servers_fault(self) -> bool:
        """True if it says something about the server or our use of it, and not about the target."""
        return self in {Refusal.UNSUPPORTED, Refusal.CREDENTIALS, Refusal.CERTIFICATE}


class ProxyRefused(BadPacket):
    """The server answered, and the answer is no. Who does not care why takes it for the end of the flow."""

    def __init__(self, refusal: Refusal, detail: str) -> None:
        super().__init__(f"{refusal.value} ({detail})" if detail else refusal.value)
        self.refusal = refusal


class StreamCodec(Protocol):
    """One flow's half of a stream proxy protocol (client or server side; the class says which)."""

    @property
    def established(self) -> bool:
        """True if flow bytes may be sealed; never goes back to False."""

    @property
    def transparent(self) -> bool:
        """True if wire bytes are flow bytes from here on, both ways: then the codec may be left out."""

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """Flow bytes to wire bytes; also what the protocol itself has to say by now.

        The first call carries what must come first (salt, target address), even when `pieces` is empty: that is how a
        flow whose server speaks first is opened. While not established, `pieces` must be empty.
        """

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """Wire bytes to flow bytes, and how many bytes of `data` were used up.

        What was not used up (the start of an unfinished record) must be presented again at the front of the next
        `data`. What is returned does not refer to `data`, which the caller may overwrite. Raises BadPacket, or
        ProxyRefused, after which the codec is of no more use.
        """

    def finish(self) -> list[Buffer]:
        """The wire bytes that end this direction, for protocols that have such; mostly the connection's end says it."""


class DatagramCodec(Protocol):
    """One association's half of a datagram proxy protocol."""

    def seal(self, peer: Endpoint, payload: Buffer) -> bytes:
        """A datagram for (client side) or from (server side) `peer` to the one that goes on the wire."""

    def open_untrusted(self, datagram: Buffer) -> tuple[Endpoint, memoryview]:
        """The peer that a wire datagram comes from (client side) or is for (server side), and its payload.

        Raises BadPacket.
        """


class Datagram(NamedTuple):
    """One datagram, and whom it comes from or goes to."""

    peer: Endpoint
    payload: Buffer


class StreamDatagramCodec(Protocol):
    """One association's half of a protocol that carries datagrams in a stream, a frame for each."""

    def seal(self, peer: Endpoint, payload: Buffer) -> Sequence[Buffer]:
        """A datagram to the bytes of its frame; the first one's stand behind what the protocol must say first.

        Raises BadPacket for a datagram that no frame can carry; the next one may.
        """

    def open_untrusted(self, data: memoryview) -> tuple[list[Datagram], int]:
        """The datagrams whose frames are whole, and how many bytes of `data` they used up.

        What was not used up must be presented again at the front of the next `data`. What is returned does not refer
        to `data`. Raises BadPacket, after which the stream is of no more use.
        """
