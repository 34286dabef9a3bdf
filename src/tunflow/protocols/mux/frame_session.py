"""Streams in frames on one stream: what smux, yamux and mux.cool share.

A session is a machine (`protocols.stream_session`). Memory is bounded: a stream keeps `QUEUE` bytes that the server did
not take, a session `UNREAD` that owners did not, behind which nothing more is read; it has `most` streams.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.protocols.many_streams import ManyStreams
from tunflow.protocols.shared_stream import SharedStream

LARGEST = 32768
"""Bytes of data in a frame of ours."""
UNREAD = 4 * 1024 * 1024
IDLE = 60.0
"""Seconds without a stream after which a session is closed."""
LINGER = 15.0
"""Seconds of silence after which a stream that its owner has finished is ended, where the protocol has no other way."""
PATIENCE = 8.0
"""Seconds without a byte after something was said, behind which new streams go elsewhere: the server may be gone."""
_MOST_CONTROL = 4096
"""Frames that wait: who has us answer more reads none of it."""


class FrameSession(ManyStreams, ABC):
    """The client's end of one session. As `PooledSession`."""

    name: str
    """Of the protocol, for errors."""
    ends_one_way = False
    """True if a stream's end leaves its other direction open."""
    step = 2
    """From one stream's number to the next one's."""
    last_number = 2**31 - 1

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._finished: dict[SharedStream, float] = {}
        """Streams whose owners have finished them, and when the server was last heard on each."""
        self._control: list[bytes] = []
        """Frames that go before data."""
        self._tail = b""
        """The start of a frame that is not whole."""
        self._unread = 0
        self._next = 1
        self._free_at = 0.0
        self._spoke_at: float | None = None
        """When something was said that nothing came after."""
        self._is_doubtful = False
        self.now = 0.0
        self.is_leaving = False

    # As `PooledSession`.

    @property
    def has_room(self) -> bool:
        """As `PooledSession.has_room`."""
        return not self.is_over and not self.is_leaving and not self._is_doubtful and self.load < self._most

    def open(self, now: float) -> SharedStream | None:
        """As `PooledSession.open`."""
        if self.is_over or self.is_leaving or len(self._streams) >= self._most:
            return None
        self.now = now
        made = self._streams[self._next] = SharedStream(self, self._next)
        self._next += self.step
        if self._next > self.last_number:
            self.is_leaving = True
        self.opened(made)
        self.wake()
        return made

    # As `StreamSession`.

    @property
    def is_full(self) -> bool:
        """As `StreamSession.is_full`."""
        return self._unread >= UNREAD

    def connected(self, now: float) -> None:
        """As `StreamSession.connected`."""
        self.stands = True
        self.now = self._free_at = now
        self.tell_waiting()

    def receive_untrusted(self, data: Buffer, now: float) -> None:
        """As `StreamSession.receive_untrusted`. Raises BadPacket."""
        self.now = now
        self._spoke_at = None
        self._is_doubtful = False
        self.heard()
        view = memoryview(self._tail + data if self._tail else data)  # what streams keep is copied for them
        at = 0
        while at < len(view) and not self.is_over and (size := self.take_untrusted(view[at:])):
            at += size
        self._tail = bytes(view[at:])
        if len(self._control) > _MOST_CONTROL:
            raise BadPacket(f"a {self.name} server has us answer and reads nothing")
        self._leave_if_done()

    def outgoing(self, now: float) -> bytes:
        """As `StreamSession.outgoing`."""
        self.now = now
        if self.is_over or not self.stands:
            return b""
        data = b""
        while not data and self._said and not self.is_blocked:
            stream = next(iter(self._said))
            del self._said[stream]
            if self._streams.get(stream.number) is stream:
                data = self._say(stream)
        if self._control:
            data = b"".join((*self._control, data))
            self._control.clear()
        if data and self._spoke_at is None:
            self._spoke_at = now
        return data

    def next_timeout(self) -> float | None:
        """As `StreamSession.next_timeout`."""
        if not self.stands or self.is_over:
            return None
        due = [when + LINGER for when in self._finished.values()]
        if not self._streams:
            due.append(self._free_at + IDLE)
        if self._spoke_at is not None and not self._is_doubtful:
            due.append(self._spoke_at + PATIENCE)
        return min(due, default=None)

    def handle_timeout(self, now: float) -> None:
        """As `StreamSession.handle_timeout`."""
        self.now = now
        for stream in [each for each, when in self._finished.items() if now >= when + LINGER]:
            self._control.append(self.end_frame(stream))
            self.end_stream(stream, reset=False)
        self._is_doubtful = self._spoke_at is not None and now >= self._spoke_at + PATIENCE
        self._leave_if_done()
        if self.stands and not self._streams and now >= self._free_at + IDLE:
            self.is_over = True

    # For its streams.

    def has_said(self, stream: SharedStream) -> None:
        """It has bytes to send, or its end."""
        if self._streams.get(stream.number) is stream:
            self._said[stream] = None
            self.wake()

    def taken(self, stream: SharedStream, size: int) -> None:
        """Its owner took bytes: there may be room again."""
        if self._streams.get(stream.number) is stream:
            self._unread -= size
            self.made_room(stream, size)
            self.wake()

    def leave(self, stream: SharedStream) -> None:
        """Its owner wants no more of it."""
        if not self.is_over and self._streams.get(stream.number) is stream:
            self._control.append(self.reset_frame(stream))
            self._forget(stream)
            self._leave_if_done()
            self.wake()

    # For the protocol.

    @abstractmethod
    def opened(self, stream: SharedStream) -> None:
        """A stream was made: say so, where it is not said with its first bytes."""

    @abstractmethod
    def take_untrusted(self, view: memoryview) -> int:
        """Take one frame from the front; its size, 0 if it is not whole. Raises BadPacket."""

    @abstractmethod
    def data_frame(self, stream: SharedStream) -> bytes:
        """A frame with bytes of the stream, which has some; empty if it may send none for now."""

    @abstractmethod
    def end_frame(self, stream: SharedStream) -> bytes:
        """What ends a stream in order."""

    @abstractmethod
    def reset_frame(self, stream: SharedStream) -> bytes:
        """What ends a stream at once."""

    def heard(self) -> None:
        """Something came."""

    def made_room(self, stream: SharedStream, size: int) -> None:
        """The owner of a stream took bytes, so that the server may send more."""

    def control(self, frame: bytes) -> None:
        """Have a frame go before all data."""
        self._control.append(frame)

    def stream_of(self, number: int) -> SharedStream | None:
        """The stream of a number, None where there is none, any more."""
        return self._streams.get(number)

    def hand_on(self, stream: SharedStream, data: memoryview) -> None:
        """Bytes came for a stream."""
        if not data or stream.ended:
            return
        stream.heard(bytes(data))
        self._unread += len(data)
        self._changed[stream] = None
        if stream in self._finished:
            self._finished[stream] = self.now

    def has_room_to_send(self, stream: SharedStream) -> None:
        """The server takes more bytes of a stream."""
        if stream.queue or (stream.finishing and not stream.said_end):
            self._said[stream] = None

    def ended(self, stream: SharedStream) -> None:
        """The server will say no more on a stream, whose other direction stays open."""
        stream.ended = True
        self._changed[stream] = None
        if stream.said_end:
            self.end_stream(stream, reset=False)

    def end_stream(self, stream: SharedStream, *, reset: bool) -> None:
        """A stream is over, both ways."""
        stream.over(reset=reset)
        self._changed[stream] = None
        self._forget(stream)

    def _say(self, stream: SharedStream) -> bytes:
        data = self.data_frame(stream) if stream.queue else b""
        if data:
            self._changed[stream] = None
            if stream.queue or stream.finishing:
                self._said[stream] = None  # behind those that wait
        elif stream.finishing and not stream.queue and not stream.said_end:
            stream.said_end = True
            self._changed[stream] = None
            if not self.ends_one_way:
                self._finished[stream] = self.now
                return b""
            data = self.end_frame(stream)
            if stream.ended:
                self.end_stream(stream, reset=False)
        return data

    def _forget(self, stream: SharedStream) -> None:
        """Give its place to another; what its owner may still take counts no more."""
        del self._streams[stream.number]
        self._unread -= stream.readable
        self._said.pop(stream, None)
        self._finished.pop(stream, None)
        self.forgotten(stream)
        if not self._streams:
            self._free_at = self.now

    def forgotten(self, stream: SharedStream) -> None:
        """A stream is no more."""

    def _leave_if_done(self) -> None:
        if self.is_leaving and not self._streams and not self.waiting:
            self.is_over = True
