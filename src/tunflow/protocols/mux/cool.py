"""mux.cool: TCP flows in one stream of a server of Xray's.

Read first: xtls.github.io, "Mux.Cool protocol"; Xray-core, common/mux. Frames as in `protocols.xudp`. There are no
windows, as in smux, and no half-closed streams. A connection carries `_REUSES` streams and is left then.
"""

from __future__ import annotations

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.codec import StreamCodec
from tunflow.protocols.first_request import FirstRequest
from tunflow.protocols.mux.frame_session import FrameSession
from tunflow.protocols.shared_stream import SharedStream
from tunflow.protocols.xudp import parse_port_and_address_untrusted, port_and_address

NEW, KEEP, END, ALIVE = 1, 2, 3, 4
DATA, ERROR = 1, 2
LARGEST = 8192
"""Bytes of data in a frame: servers read into pieces of this size."""
_TCP = b"\x01"
_REUSES = 128


def frame(number: int, status: int, target: bytes = b"", data: Buffer | None = None, *, error: bool = False) -> bytes:
    """One frame; `target` is the network, port and address of a new stream."""
    options = (DATA if data is not None else 0) | (ERROR if error else 0)
    what = number.to_bytes(2, "big") + bytes((status, options)) + target
    size = b"" if data is None else len(data).to_bytes(2, "big")
    return b"".join((len(what).to_bytes(2, "big"), what, size, data or b""))


class CoolSession(FrameSession):
    """As `FrameSession`; the first bytes of each stream are its target (`CoolTarget`)."""

    name = "mux.cool"
    step = 1
    last_number = _REUSES

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self._new: set[int] = set()
        """Streams that the server was not told of."""

    def opened(self, stream: SharedStream) -> None:
        """As `FrameSession.opened`; nothing is said before the target is known."""
        self._new.add(stream.number)

    def take_untrusted(self, view: memoryview) -> int:
        """As `FrameSession.take_untrusted`. Raises BadPacket."""
        if len(view) < 2:
            return 0
        end = 2 + (view[0] << 8 | view[1])
        if not 6 <= end <= 512:
            raise BadPacket("what answers is no mux.cool server (a frame's size)")
        if len(view) < end:
            return 0
        number, status, options = view[2] << 8 | view[3], view[4], view[5]
        if not NEW <= status <= ALIVE:
            raise BadPacket(f"status {status} of mux.cool is none of 1 to 4")
        data = view[end:end]
        if options & DATA:
            if len(view) < end + 2:
                return 0
            start = end + 2
            end = start + (view[end] << 8 | view[end + 1])
            if len(view) < end:
                return 0
            data = view[start:end]
        stream = self.stream_of(number)
        if stream is not None and status in {KEEP, END}:
            self.hand_on(stream, data)
            if status == END:
                self.end_stream(stream, reset=bool(options & ERROR))
        return end

    def data_frame(self, stream: SharedStream) -> bytes:
        """As `FrameSession.data_frame`."""
        data: Buffer = stream.next_bytes(LARGEST)
        if stream.number not in self._new:
            return frame(stream.number, KEEP, data=data)
        self._new.discard(stream.number)
        parsed = parse_port_and_address_untrusted(memoryview(data))
        assert parsed is not None, "a stream begins with its target"
        target, rest = _TCP + data[: parsed[1]], data[parsed[1] :]
        return frame(stream.number, NEW, target, rest if rest else None)

    def end_frame(self, stream: SharedStream) -> bytes:
        """As `FrameSession.end_frame`."""
        return b"" if stream.number in self._new else frame(stream.number, END)

    def reset_frame(self, stream: SharedStream) -> bytes:
        """As `FrameSession.reset_frame`."""
        return b"" if stream.number in self._new else frame(stream.number, END, error=True)

    def forgotten(self, stream: SharedStream) -> None:
        """As `FrameSession.forgotten`."""
        self._new.discard(stream.number)


def cool_target(target: Endpoint) -> StreamCodec:
    """What is said first on a stream to `target`. Raises LocalError for a name that cannot be carried."""
    return FirstRequest(port_and_address(target))
