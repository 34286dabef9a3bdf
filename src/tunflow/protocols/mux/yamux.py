"""yamux, as sing-mux has it.

Read first: hashicorp/yamux, spec.md. A frame: version, type, flags, stream, and a length, which is a
window's or a number where there is no data. Each stream has a window either way, and each direction an end.
"""

from __future__ import annotations

from tunflow.errors import BadPacket
from tunflow.protocols.mux.frame_session import LARGEST, PATIENCE, FrameSession
from tunflow.protocols.shared_stream import SharedStream

DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
WINDOW = 256 * 1024
"""Bytes of a new stream that either side may send."""
OURS = 1024 * 1024
"""Bytes that a server may send and an owner did not take."""
QUIET = 10.0
"""Seconds without a byte after which a new stream asks for a sign of life."""
_HEADER = 12
_MOST = 2**32 - 1
_QUESTION = 0x74756E66


def frame(kind: int, flags: int, number: int, length: int, data: bytes = b"") -> bytes:
    """One frame."""
    head = bytes((0, kind)) + flags.to_bytes(2, "big") + number.to_bytes(4, "big") + length.to_bytes(4, "big")
    return head + data


class YamuxSession(FrameSession):
    """As `FrameSession`."""

    name = "yamux"
    ends_one_way = True

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self._room: dict[int, int] = {}
        """Bytes that we may send on each stream."""
        self._granted: dict[int, int] = {}
        """Bytes that the server may send on each stream."""
        self._took: dict[int, int] = {}
        """Bytes that owners took, of which the server was not told."""
        self._heard_at = 0.0
        self._asked_at: float | None = None

    def connected(self, now: float) -> None:
        """As `StreamSession.connected`."""
        self._heard_at = now
        super().connected(now)

    def next_timeout(self) -> float | None:
        """As `StreamSession.next_timeout`."""
        due = super().next_timeout()
        if self._asked_at is None or self.is_over:
            return due
        return self._asked_at + PATIENCE if due is None else min(due, self._asked_at + PATIENCE)

    def handle_timeout(self, now: float) -> None:
        """As `StreamSession.handle_timeout`."""
        super().handle_timeout(now)
        if self._asked_at is not None and now >= self._asked_at + PATIENCE:
            self.end(BadPacket("the server gives no sign of life"))

    def heard(self) -> None:
        """As `FrameSession.heard`."""
        self._heard_at = self.now
        self._asked_at = None

    def opened(self, stream: SharedStream) -> None:
        """As `FrameSession.opened`."""
        if self.now - self._heard_at >= QUIET and self._asked_at is None:
            self._asked_at = self.now
            self.control(frame(PING, SYN, 0, _QUESTION))
        self._room[stream.number] = WINDOW
        self._granted[stream.number] = OURS
        self._took[stream.number] = 0
        self.control(frame(WINDOW_UPDATE, SYN, stream.number, OURS - WINDOW))

    def take_untrusted(self, view: memoryview) -> int:
        """As `FrameSession.take_untrusted`. Raises BadPacket."""
        if view[0] or (len(view) > 1 and view[1] > GO_AWAY):
            raise BadPacket(f"what answers is no yamux server (a frame begins with {bytes(view[:2]).hex()})")
        if len(view) < _HEADER:
            return 0
        kind, flags, length = view[1], view[2] << 8 | view[3], int.from_bytes(view[8:_HEADER], "big")
        number = int.from_bytes(view[4:8], "big")
        if kind == PING:
            if flags & SYN:
                self.control(frame(PING, ACK, 0, length))
            return _HEADER
        if kind == GO_AWAY:
            if length:
                raise BadPacket(f"the server ends the session (error {length} of yamux)")
            self.is_leaving = True
            return _HEADER
        end = _HEADER
        if kind == DATA:
            if length > OURS:
                raise BadPacket("a yamux server sends more than a window has")
            end += length
            if len(view) < end:
                return 0
        if flags & SYN:  # nobody is asked for streams of the server's
            self.control(frame(WINDOW_UPDATE, RST, number, 0))
        elif (stream := self.stream_of(number)) is not None:
            self._take(stream, kind, flags, length, view[_HEADER:end])
        return end

    def data_frame(self, stream: SharedStream) -> bytes:
        """As `FrameSession.data_frame`."""
        data = stream.next_bytes(min(LARGEST, self._room[stream.number]))
        self._room[stream.number] -= len(data)
        return frame(DATA, 0, stream.number, len(data), data) if data else b""

    def end_frame(self, stream: SharedStream) -> bytes:
        """As `FrameSession.end_frame`."""
        return frame(DATA, FIN, stream.number, 0)

    def reset_frame(self, stream: SharedStream) -> bytes:
        """As `FrameSession.reset_frame`."""
        return frame(WINDOW_UPDATE, RST, stream.number, 0)

    def made_room(self, stream: SharedStream, size: int) -> None:
        """As `FrameSession.made_room`: the server is told once it is half of the window."""
        number = stream.number
        self._took[number] += size
        if self._took[number] >= OURS // 2 and not stream.ended:
            self._granted[number] += self._took[number]
            self.control(frame(WINDOW_UPDATE, 0, number, self._took[number]))
            self._took[number] = 0

    def forgotten(self, stream: SharedStream) -> None:
        """As `FrameSession.forgotten`."""
        for each in (self._room, self._granted, self._took):
            del each[stream.number]

    def _take(self, stream: SharedStream, kind: int, flags: int, length: int, data: memoryview) -> None:
        """A frame of a stream. Raises BadPacket."""
        number = stream.number
        if flags & RST:
            self.end_stream(stream, reset=True)
            return
        if kind == DATA:
            self._granted[number] -= length
            if self._granted[number] < 0:
                raise BadPacket("a yamux server sends more than a window has")
            self.hand_on(stream, data)
        else:
            self._room[number] += length
            if self._room[number] > _MOST:
                raise BadPacket("a yamux server gives more window than there is")
            self.has_room_to_send(stream)
        if flags & FIN:
            self.ended(stream)
