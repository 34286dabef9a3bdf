"""Datagrams in streams: the streams of one client socket, begun by what is sent and ended when nobody needs them.

Rules:
1. A stream that does not take what it has been given gets no more: what comes then is dropped, as a full queue would,
   and never kept (`WAITING` bytes at most).
2. A stream that ends without having brought anything is not begun again for `LEFT_IN_PEACE` seconds; one that did is
   begun with the next datagram.
3. Where each target has its own, streams idle for `IDLE` seconds give way to new ones, and of more than `MOST` the one
   unused longest does.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.loop.path import Path
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import SocketOptions
from tunflow.outbound.client import StreamClient
from tunflow.protocols.codec import Datagram
from tunflow.protocols.contract import Blocked, FramedDatagrams, FramedStream
from tunflow.protocols.sealed_reader import SealedReader

WAITING = 256 * 1024
"""Bytes kept for a stream besides what the kernel takes: what clients send in one burst before the loop can write."""

LEFT_IN_PEACE = 5.0
IDLE = 120.0
"""As RFC 4787 REQ-5 has it for a NAT's mapping."""
MOST = 64


class Room(Protocol):
    """Who counts descriptors."""

    def claim(self) -> None:
        """Count one more. Raises OSError when there is none."""

    def give_back(self) -> None:
        """Count one less."""


class DatagramStreams:
    """See the module's rules. `received` is called with what came together; `ended` with the reason of a stream's end
    and whether it had brought anything. Neither is called from within `send`."""

    def __init__(
        self,
        reactor: Reactor,
        way: FramedDatagrams,
        received: Callable[[Sequence[Datagram]], None],
        ended: Callable[[str, bool], None],
        sockets: SocketOptions,
        room: Room,
    ) -> None:
        self._reactor = reactor
        self._way = way
        self._received = received
        self._ended = ended
        self._sockets = sockets
        self._room = room
        self._streams: OrderedDict[Endpoint | None, _Stream] = OrderedDict()
        self._peace_until = 0.0

    @property
    def path(self) -> Path | None:
        """The addresses that the packets of its streams go between; None while there is none."""
        for stream in self._streams.values():
            return stream.client.path
        return None

    @property
    def is_resting(self) -> bool:
        """True if the server is left in peace."""
        return self._reactor.now < self._peace_until

    def send(self, target: Endpoint, payloads: Sequence[Buffer]) -> int:
        """Send datagrams to `target`, which may be a name. Return how many were dropped.

        Raises OSError when there is no descriptor for another stream, LocalError for a name that cannot be told,
        Blocked for a target that nothing is carried to.
        """
        if (why := self._way.refuses(target)) is not None:
            raise Blocked(why)
        key = target if self._way.is_per_target else None
        stream = self._streams.get(key)
        if stream is None:
            if self.is_resting:
                return len(payloads)
            stream = self._begin(key, target)
        elif key is not None:
            self._streams.move_to_end(key)
        stream.used = self._reactor.now
        return stream.send(target, payloads)

    def close(self) -> None:
        """Give the descriptors back."""
        for key in list(self._streams):
            self._drop(key)

    def _begin(self, key: Endpoint | None, target: Endpoint) -> _Stream:
        now = self._reactor.now
        while self._streams:
            oldest, unused = next(iter(self._streams.items()))
            if len(self._streams) < MOST and unused.used > now - IDLE:
                break
            self._drop(oldest)
        framed = self._way.open(target)
        self._room.claim()
        stream = _Stream(self._reactor, framed, self._sockets, self._received, lambda why: self._lost(key, stream, why))
        self._streams[key] = stream
        return stream

    def _lost(self, key: Endpoint | None, stream: _Stream, why: str) -> None:
        if self._streams.get(key) is not stream:
            return
        self._drop(key)
        if not stream.has_brought:
            self._peace_until = self._reactor.now + LEFT_IN_PEACE
        self._ended(why, stream.has_brought)

    def _drop(self, key: Endpoint | None) -> None:
        self._streams.pop(key).client.close()
        self._room.give_back()


class _Stream:
    """One stream with its frames."""

    __slots__ = ("_frames", "_lost", "_reactor", "_reader", "_received", "client", "has_brought", "used")

    def __init__(
        self,
        reactor: Reactor,
        framed: FramedStream,
        sockets: SocketOptions,
        received: Callable[[Sequence[Datagram]], None],
        lost: Callable[[str], None],
    ) -> None:
        self._reactor = reactor
        self._frames = framed.frames
        self._received = received
        self._lost = lost
        self._reader = SealedReader(framed.frames.open_untrusted)
        self.used = reactor.now
        self.has_brought = False
        self.client = StreamClient(reactor, framed.route, self._heard, lambda why, _stood: lost(why), sockets)

    def send(self, target: Endpoint, payloads: Sequence[Buffer]) -> int:
        """Return how many were dropped."""
        room = WAITING - self.client.unsent
        pieces: list[Buffer] = []
        dropped = 0
        for payload in payloads:
            if room <= 0:
                dropped += 1
                continue
            try:
                frame = self._frames.seal(target, payload)
            except BadPacket:
                dropped += 1
                continue
            room -= sum(map(len, frame))
            pieces += frame
        if pieces:
            self.client.send([b"".join(pieces)])
        return dropped

    def _heard(self, data: Buffer) -> None:
        self.used = self._reactor.now
        try:
            datagrams = self._reader.read_untrusted(bytes(data))
        except BadPacket as error:
            why = str(error)
            self.client.close()
            self._reactor.call_soon(lambda: self._lost(why))
            return
        if datagrams:
            self.has_brought = True
            self._received(datagrams)
