"""smux, version 1, as sing-mux has it.

Read first: xtaci/smux, README and frame.go. A frame: version, command, size of the data, stream; numbers have their
lowest byte first. There are no windows: an owner that takes nothing holds up the others of its session, once
`UNREAD` bytes wait. Of half-closed streams it knows nothing: an end ends both directions, so ours waits until the
server has been silent for `LINGER` seconds. It has no question for a sign of life, either.
"""

from __future__ import annotations

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.protocols.mux.frame_session import LARGEST, FrameSession
from tunflow.protocols.shared_stream import SharedStream

SYN, FIN, PUSH, NOTHING = range(4)
_HEADER = 8
_VERSION = 1


def frame(command: int, number: int, data: Buffer = b"") -> bytes:
    """One frame."""
    head = bytes((_VERSION, command)) + len(data).to_bytes(2, "little") + number.to_bytes(4, "little")
    return b"".join((head, data))


class SmuxSession(FrameSession):
    """As `FrameSession`."""

    name = "smux"

    def opened(self, stream: SharedStream) -> None:
        """As `FrameSession.opened`."""
        self.control(frame(SYN, stream.number))

    def take_untrusted(self, view: memoryview) -> int:
        """As `FrameSession.take_untrusted`. Raises BadPacket."""
        if view[0] != _VERSION or (len(view) > 1 and view[1] > NOTHING):
            raise BadPacket(f"what answers is no smux server (a frame begins with {bytes(view[:2]).hex()})")
        if len(view) < _HEADER:
            return 0
        command, size = view[1], view[2] | view[3] << 8
        if command != PUSH and size:
            raise BadPacket("a frame of smux has data where none is")
        end = _HEADER + size
        if len(view) < end:
            return 0
        stream = self.stream_of(int.from_bytes(view[4:_HEADER], "little"))
        if stream is None:
            return end
        if command == PUSH:
            self.hand_on(stream, view[_HEADER:end])
        elif command == FIN:
            self.end_stream(stream, reset=False)
        return end

    def data_frame(self, stream: SharedStream) -> bytes:
        """As `FrameSession.data_frame`."""
        return frame(PUSH, stream.number, stream.next_bytes(LARGEST))

    def end_frame(self, stream: SharedStream) -> bytes:
        """As `FrameSession.end_frame`."""
        return frame(FIN, stream.number)

    def reset_frame(self, stream: SharedStream) -> bytes:
        """As `FrameSession.reset_frame`: there is one end only."""
        return frame(FIN, stream.number)
