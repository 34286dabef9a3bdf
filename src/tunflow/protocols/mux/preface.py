"""What a sing-mux connection begins with, and the padding of its first messages.

Read first: SagerNet/sing-mux, protocol.go and padding.go. The stream goes to a name that stands for no host. Version (1
where there may be padding), protocol, whether there is padding, and then some. Padded messages, the first 16 of each
direction: size, size of the padding, both behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunflow.endpoint import Buffer, Endpoint
from tunflow.protocols.codec import StreamCodec
from tunflow.protocols.first_request import FirstRequest

TARGET = Endpoint("sp.mux.sing-box.arpa", 444)
_NUMBERS = {"smux": 0, "yamux": 1, "h2mux": 2}
PADDED = 16
"""Messages of each direction that are padded."""
_LEAST, _SPAN = 256, 512
_LARGEST = 65535
_HEADER = 4


def preface(protocol: str, *, padding: bool, random_bytes: Callable[[int], bytes]) -> StreamCodec:
    """What stands between a server and a session of `protocol`."""
    if padding:
        return PaddedStream(bytes((1, _NUMBERS[protocol], 1)), random_bytes)
    return FirstRequest(bytes((0, _NUMBERS[protocol])))


class PaddedStream:
    """The client's end. As `StreamCodec`."""

    __slots__ = ("_data", "_heard", "_padding", "_random_bytes", "_said", "_start")

    established = True
    """The server is never asked."""

    def __init__(self, start: bytes, random_bytes: Callable[[int], bytes]) -> None:
        self._start = start
        self._random_bytes = random_bytes
        self._said = self._heard = 0
        self._data = self._padding = 0
        """Bytes that are left of the message which is being read."""

    @property
    def transparent(self) -> bool:
        """True if there is no more padding, either way."""
        return self._said == self._heard == PADDED and not self._data and not self._padding

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """As `StreamCodec.seal`; the first call has the preface."""
        if self._said == PADDED:
            return list(pieces)
        made: list[Buffer] = []
        if self._start:
            size = self._draw()
            made += [self._start, size.to_bytes(2, "big"), bytes(size)]
            self._start = b""
        data = b"".join(pieces)
        while data and self._said < PADDED:
            piece, data = data[:_LARGEST], data[_LARGEST:]
            size = self._draw()
            made += [len(piece).to_bytes(2, "big"), size.to_bytes(2, "big"), piece, bytes(size)]
            self._said += 1
        return [b"".join(made), data] if data else [b"".join(made)] if made else []

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """As `StreamCodec.open_untrusted`."""
        pieces: list[Buffer] = []
        at = 0
        while at < len(data):
            if self._data:
                piece = bytes(data[at : at + self._data])
                self._data -= len(piece)
                at += len(piece)
                pieces.append(piece)
            elif self._padding:
                size = min(self._padding, len(data) - at)
                self._padding -= size
                at += size
            elif self._heard == PADDED:
                pieces.append(bytes(data[at:]))
                at = len(data)
            elif len(data) - at < _HEADER:
                break
            else:
                self._data = data[at] << 8 | data[at + 1]
                self._padding = data[at + 2] << 8 | data[at + 3]
                self._heard += 1
                at += _HEADER
        return pieces, at

    def finish(self) -> list[Buffer]:
        """Nothing: the connection's end is the flow's."""
        return []

    def _draw(self) -> int:
        return _LEAST + int.from_bytes(self._random_bytes(2), "big") % _SPAN
