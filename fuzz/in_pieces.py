"""Bytes that come in pieces, and a codec that takes what is whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tunflow.errors import BadPacket

Item = TypeVar("Item")


def opened_in_pieces(
    open_untrusted: Callable[[memoryview], tuple[list[Item], int]], data: bytes, step: int, most: int | None = None
) -> list[Item] | None:
    """What comes out, or None for a refusal; the codec leaves no more than `most` bytes and a piece waiting."""
    out: list[Item] = []
    waiting = b""
    for at in range(0, len(data), step):
        waiting += data[at : at + step]
        try:
            items, used = open_untrusted(memoryview(waiting))
        except BadPacket:
            return None
        assert 0 <= used <= len(waiting)
        waiting = waiting[used:]
        assert most is None or len(waiting) <= most + step
        out += items
    return out
