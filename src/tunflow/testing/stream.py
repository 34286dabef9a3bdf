"""Bytes that are known by their place: whoever reads them anywhere knows whether they are the right ones."""

from __future__ import annotations

import random

from tunflow.endpoint import Buffer

PERIOD = 65521
"""Bytes until they repeat: a prime, so that bytes moved by any number of segments are not in a right place again."""


class Stream:
    """An endless stream; another seed gives another one."""

    def __init__(self, seed: int) -> None:
        block = random.Random(seed).randbytes(PERIOD)
        self._block = memoryview(block + block)

    def piece(self, start: int, size: int) -> memoryview:
        """The bytes from `start` on, `PERIOD` of them at most."""
        at = start % PERIOD
        return self._block[at : at + min(size, PERIOD)]

    def has(self, start: int, data: Buffer) -> bool:
        """Return True if `data` stands at `start`."""
        at, size = 0, len(data)
        while at < size:
            mine = self.piece(start + at, size - at)
            if mine.tobytes() != bytes(data[at : at + len(mine)]):
                return False
            at += len(mine)
        return True
