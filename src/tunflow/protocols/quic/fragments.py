"""Pieces of datagrams that came in several, put together again.

Rules: of each flow only the newest datagram is being put together; a piece of another one begins that and drops the
one before. So what is kept is bounded by the flows.
"""

from __future__ import annotations


class Fragments:
    """The pieces of one flow's datagrams."""

    __slots__ = ("_identifier", "_left", "_pieces")

    def __init__(self) -> None:
        self._identifier = -1
        self._pieces: list[bytes | None] = []
        self._left = 0

    def put_untrusted(self, identifier: int, index: int, count: int, piece: bytes) -> list[bytes] | None:
        """The pieces of a datagram in order, once all `count` of them are there."""
        if count <= 1:
            return [piece]
        if index >= count:
            return None
        if identifier != self._identifier or count != len(self._pieces):
            self._identifier = identifier
            self._pieces = [None] * count
            self._left = count
        if self._pieces[index] is None:
            self._pieces[index] = piece
            self._left -= 1
        if self._left:
            return None
        whole = [each for each in self._pieces if each is not None]
        self._identifier, self._pieces = -1, []
        return whole
