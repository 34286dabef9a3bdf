"""A stream of bytes both ways, as whoever carries it sees it, and who owns a stream.

A connection of the stack is one (`stack.tcp.connection`), also with a content filter before it, and so is a stream of a
session that several share. Owners are told that something changed, and look for themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tunflow.endpoint import Buffer, Endpoint


class StreamOwner(Protocol):
    """Who holds one side of a stream (`user` of the conduit)."""

    def service(self) -> None:
        """The stream changed: bytes, room, end of file, or its end."""

    def rebind(self, stream: ClientConduit) -> None:
        """Go on with `stream`, which is the same flow: a content filter stepped before it, or out of the way.

        Nothing is lost or repeated: bytes that were not taken yet are in the new one.
        """


class Conduit(Protocol):
    """A stream of bytes, both ways; sizes are in bytes, times in seconds of the loop's clock."""

    user: StreamOwner | None
    """Who is told of changes."""

    @property
    def readable(self) -> int:
        """How much may be taken now."""

    @property
    def at_eof(self) -> bool:
        """True if the other side has closed, and all that it sent was taken."""

    @property
    def send_room(self) -> int:
        """How much may be queued now; more than that is taken, too, but is against the rules.

        An owner who finds little, or fills it, is told when there is more.
        """

    @property
    def unacknowledged(self) -> int:
        """Bytes for the other side that it has not acknowledged yet."""

    @property
    def closed(self) -> bool:
        """True if it is over, one way or the other."""

    @property
    def was_reset(self) -> bool:
        """True if it ended out of order."""

    @property
    def is_refused(self) -> bool:
        """True if a content filter ended it."""

    def take(self, limit: int) -> list[Buffer]:
        """Up to `limit` bytes from the other side, as pieces that are the caller's."""

    def send(self, pieces: Sequence[Buffer], now: float, more: bool = False) -> None:
        """Queue bytes, which must not change afterwards; `more`: the caller has more and will bring it soon."""

    def close_write(self, now: float, last: Sequence[Buffer] = ()) -> None:
        """Queue the `last` bytes and the end of the stream behind them; the other direction stays open."""

    def abort(self) -> None:
        """End it at once, with a reset."""


class ClientConduit(Conduit, Protocol):
    """A client's connection: its SYN is `held` until somebody accepts or rejects it."""

    @property
    def client(self) -> Endpoint:
        """The client's end, with a packed address."""

    @property
    def target(self) -> Endpoint:
        """Where the client wants to go, with a packed address."""

    @property
    def syn(self) -> bytes:
        """The IP packet that asked for the connection, for an ICMP error to quote."""

    @property
    def held(self) -> bool:
        """True if the SYN waits for `accept` or `reject`."""

    @property
    def open(self) -> bool:
        """True if both sides agreed that there is a connection, and it has not ended yet."""

    @property
    def largest_segment(self) -> int:
        """Bytes that leave for the client in one packet at most, super-segments counted as one."""

    def peek(self) -> Sequence[Buffer]:
        """What waits to be taken, as pieces that stay where they are: to look at, before the next call."""

    def accept(self, now: float) -> None:
        """Answer the SYN."""

    def reject(self, reset: bool) -> None:
        """Refuse the SYN: with a reset, or without a word."""

    def abandon(self, now: float) -> None:
        """The owner is done: nobody takes bytes any more. What is queued is still delivered, and then the end."""

    def cut(self) -> None:
        """Something went wrong in it: end it with a reset, of which its owner hears."""


class Carrier(Protocol):
    """What carries a flow."""

    @property
    def bytes_up(self) -> int:
        """Bytes from the client so far."""

    @property
    def bytes_down(self) -> int:
        """Bytes to the client so far."""

    @property
    def is_over(self) -> bool:
        """True if the flow has ended."""

    def cut(self) -> None:
        """End the flow, as if its far side had failed."""
