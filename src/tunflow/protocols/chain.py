"""Codecs inside codecs: how a chain of servers is one stream, or one socket's datagrams.

`outer` is nearer to the wire. What `inner` seals is the flow that `outer` carries to the next server; it says nothing
until `outer` stands.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunflow.endpoint import Buffer, Endpoint
from tunflow.protocols.codec import DatagramCodec, StreamCodec


class ChainedStream:
    """A stream codec whose flow bytes go through `inner`, then `outer`."""

    __slots__ = ("_inner", "_outer", "_tail")

    def __init__(self, outer: StreamCodec, inner: StreamCodec) -> None:
        self._outer = outer
        self._inner = inner
        self._tail = b""

    @property
    def established(self) -> bool:
        """Whether both are."""
        return self._inner.established and self._outer.established

    @property
    def transparent(self) -> bool:
        """Whether both are, and nothing is kept here."""
        return self._inner.transparent and self._outer.transparent and not self._tail

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """As `StreamCodec.seal`."""
        outer = self._outer
        return outer.seal(self._inner.seal(pieces) if outer.established else ())

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """As `StreamCodec.open_untrusted`; the start of an unfinished inner record is kept here. Raises BadPacket."""
        opened, used = self._outer.open_untrusted(data)
        if not opened or (self._inner.transparent and not self._tail):
            return opened, used
        flow = b"".join((self._tail, *opened))
        pieces, inner_used = self._inner.open_untrusted(memoryview(flow))
        self._tail = flow[inner_used:]
        return pieces, used

    def finish(self) -> list[Buffer]:
        """As `StreamCodec.finish`."""
        last = self._inner.finish()
        return [*(self._outer.seal(last) if last else ()), *self._outer.finish()]


class ChainedDatagrams:
    """A datagram codec that has the server of `outer` forward to that of `inner`, which is at `next_hop`."""

    __slots__ = ("_inner", "_next_hop", "_outer")

    def __init__(self, outer: DatagramCodec, inner: DatagramCodec, next_hop: Endpoint) -> None:
        self._outer = outer
        self._inner = inner
        self._next_hop = next_hop

    def seal(self, peer: Endpoint, payload: Buffer) -> bytes:
        """As `DatagramCodec.seal`."""
        return self._outer.seal(self._next_hop, self._inner.seal(peer, payload))

    def open_untrusted(self, datagram: Buffer) -> tuple[Endpoint, memoryview]:
        """As `DatagramCodec.open_untrusted`. Raises BadPacket."""
        _, inside = self._outer.open_untrusted(datagram)
        return self._inner.open_untrusted(inside)
