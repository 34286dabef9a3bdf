"""What came on a stream and was not taken yet."""

from __future__ import annotations

from collections import deque

from tunflow.endpoint import Buffer


class ArrivedBytes:
    """A queue of bytes, as the pieces in which they came. `len` is how many bytes wait."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, data: bytes) -> None:
        """Take in bytes, behind those that wait."""
        self._pieces.append(data)
        self._size += len(data)

    def take(self, limit: int) -> list[Buffer]:
        """Return up to `limit` bytes from the front, as many as there are; they wait no more."""
        taken: list[Buffer] = []
        pieces, left = self._pieces, limit
        while pieces and left > 0:
            piece = pieces.popleft()
            if len(piece) > left:
                pieces.appendleft(piece[left:])
                piece = piece[:left]
            taken.append(piece)
            left -= len(piece)
        self._size -= limit - left
        return taken

    def clear(self) -> None:
        """Nobody wants them."""
        self._pieces.clear()
        self._size = 0
