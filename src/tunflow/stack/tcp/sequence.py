"""Sequence numbers (RFC 9293 §3.4): 32 bits on the wire, unwrapped inside, where they compare as they are."""

from __future__ import annotations

from collections.abc import Sequence

MODULUS = 1 << 32
HALF = 1 << 31

Block = tuple[int, int]
"""The first sequence number of a SACK block, and the one after its last (RFC 2018 §3)."""


def unwrap(number: int, reference: int) -> int:
    """Return the unwrapped sequence number nearest to `reference` whose low 32 bits are `number`."""
    ahead = (number - reference) % MODULUS
    return reference + ahead - (MODULUS if ahead >= HALF else 0)


def blocks_within(blocks: Sequence[Block], una: int, end: int) -> list[Block]:
    """Return the SACK blocks of a segment that lie in what is in flight, from `una` to `end`, unwrapped."""
    valid = []
    for left, right in blocks:
        first = unwrap(left, una)
        last = unwrap(right, una)
        if una < first < last <= end:
            valid.append((first, last))
    return valid
