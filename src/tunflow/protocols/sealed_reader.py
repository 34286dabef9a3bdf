"""What arrives of a sealed stream, opened piece by piece: the start of what is not whole yet is kept for the next one.

Codecs keep nothing of what passes (`protocols.codec`): whoever reads a stream has one of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Opened = TypeVar("Opened")


class SealedReader(Generic[Opened]):
    """Opens by `open_untrusted`, a codec's: it returns what it opened, and how many bytes that took up."""

    __slots__ = ("_open_untrusted", "tail")

    def __init__(self, open_untrusted: Callable[[memoryview], tuple[list[Opened], int]]) -> None:
        self._open_untrusted = open_untrusted
        self.tail = b""
        """The start of a record that is not whole."""

    def read_untrusted(self, data: bytes) -> list[Opened]:
        """Open what came. Raises BadPacket."""
        if self.tail:
            data = self.tail + data
        opened, used = self._open_untrusted(memoryview(data))
        self.tail = data[used:]
        return opened

    def read_behind_untrusted(self, scratch: memoryview, received: int) -> list[Opened]:
        """The same for bytes that were received into `scratch`, as many bytes behind its start as `tail` has.

        Raises BadPacket.
        """
        end = len(self.tail)
        if end:
            scratch[:end] = self.tail
        end += received
        opened, used = self._open_untrusted(scratch[:end])
        self.tail = bytes(scratch[used:end]) if used < end else b""
        return opened
