"""Inputs without end from a few: bits turned over, numbers at their limits, pieces missing, doubled or in between."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

LONGEST_INPUT = 70_000
"""Bytes; a super-segment with its headers is the largest thing that any parser is given."""
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def flip_bits(data: bytearray, rng: random.Random) -> None:
    """A few bits turned over."""
    for _ in range(rng.randint(1, 8)):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def overwrite_number(data: bytearray, rng: random.Random) -> None:
    """A boundary value where a length or an offset may stand."""
    width = rng.choice((1, 2, 4))
    if len(data) >= width:
        at = rng.randrange(len(data) - width + 1)
        value = rng.choice(INTERESTING) & ((1 << 8 * width) - 1)
        data[at : at + width] = value.to_bytes(width, rng.choice(("big", "little")))


def cut(data: bytearray, rng: random.Random) -> None:
    """The end missing."""
    del data[rng.randint(0, len(data)) :]


def remove(data: bytearray, rng: random.Random) -> None:
    """A piece missing."""
    at = rng.randint(0, len(data))
    del data[at : at + rng.randint(1, 16)]


def insert(data: bytearray, rng: random.Random) -> None:
    """Random bytes in the middle."""
    at = rng.randint(0, len(data))
    data[at:at] = rng.randbytes(rng.randint(1, 16))


def repeat(data: bytearray, rng: random.Random) -> None:
    """A piece twice."""
    at = rng.randint(0, len(data))
    data[at:at] = data[at : at + rng.randint(1, 64)]


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip_bits,
    overwrite_number,
    cut,
    remove,
    insert,
    repeat,
)


def inputs(known: Sequence[bytes], rng: random.Random) -> Iterator[bytes]:
    """Nothing, each known input, then their mutations and random bytes without end."""
    yield b""
    yield from known
    while True:
        if not known or rng.random() < 0.1:
            yield rng.randbytes(rng.choice((rng.randint(0, 8), rng.randint(0, 128), rng.randint(0, 2048))))
            continue
        data = bytearray(rng.choice(known))
        for _ in range(rng.randint(1, 4)):
            rng.choice(MUTATIONS)(data, rng)
        if rng.random() < 0.1:
            data += rng.choice(known)
        yield bytes(data[:LONGEST_INPUT])
