"""Codecs inside codecs: how a chain of servers is one stream, or one socket's datagrams.

`outer` is nearer to the wire. What `inner` seals is the flow that `outer` carries to the next server; it says nothing
until `outer` stands.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.codec import Datagram, DatagramCodec, StreamCodec, StreamDatagramCodec


class ChainedStream:
    """A stream codec whose flow bytes go through `inner`, then `outer`."""

    __slots__ = ("_inner", "_outer", "_tail")

    def __init__(self, outer: StreamCodec, inner: StreamCodec) -> None:
        self._outer = outer
        self._inner = inner
        self._tail = b""

    @property
    def established(self) -> bool:
        """True if both are."""
        return self._inner.established and self._outer.established

    @property
    def transparent(self) -> bool:
        """True if both are, and nothing is kept here."""
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


class FramedInside:
    """What a datagram codec seals for its server at `next_hop`, carried there in a stream's frames.

    As `StreamDatagramCodec`.
    """

    __slots__ = ("_frames", "_inner", "_next_hop")

    def __init__(self, frames: StreamDatagramCodec, inner: DatagramCodec, next_hop: Endpoint) -> None:
        self._frames = frames
        self._inner = inner
        self._next_hop = next_hop

    def seal(self, peer: Endpoint, payload: Buffer) -> Sequence[Buffer]:
        """As `StreamDatagramCodec.seal`."""
        return self._frames.seal(self._next_hop, self._inner.seal(peer, payload))

    def open_untrusted(self, data: memoryview) -> tuple[list[Datagram], int]:
        """As `StreamDatagramCodec.open_untrusted`; a datagram that the server did not seal is dropped."""
        framed, used = self._frames.open_untrusted(data)
        opened = []
        for each in framed:
            try:
                opened.append(Datagram(*self._inner.open_untrusted(each.payload)))
            except BadPacket:
                continue
        return opened, used
