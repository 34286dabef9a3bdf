"""A server that says it will leave (GOAWAY, RFC 9113 §6.8): it opens no new streams, and goes on with those it has.

h2 takes the frame for the end of the connection, so it is taken out of what h2 reads. nginx sends it after a thousand
requests, in the middle of others.
"""

from __future__ import annotations

from tunflow.errors import BadPacket

_GOAWAY = 7
_HEADER = 9
_LONGEST = 65536 + 256
"""Bytes of a frame that is kept until it is whole: no more than was allowed (SETTINGS_MAX_FRAME_SIZE)."""


class GoAwayFilter:
    """Cuts the stream into frames, no more."""

    def __init__(self) -> None:
        self.is_leaving = False
        self.last_stream: int | None = None
        """The last stream that the server takes, once it is leaving."""
        self._left = 0
        """Bytes of a frame that passes."""
        self._start = b""
        """A frame's header, or a GOAWAY, that is not whole."""

    def without_untrusted(self, data: bytes) -> bytes:
        """What h2 is to read of this. Raises BadPacket for a frame of a size that was not allowed."""
        passed: list[bytes] = []
        data = self._start + data
        self._start = b""
        at = 0
        while at < len(data):
            if self._left:
                piece = data[at : at + self._left]
                self._left -= len(piece)
                passed.append(piece)
                at += len(piece)
                continue
            if len(data) - at < _HEADER:
                break
            size = int.from_bytes(data[at : at + 3], "big")
            if size > _LONGEST:
                raise BadPacket("what answers is no HTTP/2 server: a frame is too long")
            if data[at + 3] != _GOAWAY:
                self._left = _HEADER + size
                continue
            frame = data[at + _HEADER : at + _HEADER + size]
            if len(frame) < size:
                break
            if size < 8:
                raise BadPacket("what answers is no HTTP/2 server: a GOAWAY is too short")
            at += _HEADER + size
            self._leave(frame)
        self._start = data[at:]
        return b"".join(passed)

    def _leave(self, frame: bytes) -> None:
        self.is_leaving = True
        self.last_stream = int.from_bytes(frame[:4], "big") & 0x7FFFFFFF
