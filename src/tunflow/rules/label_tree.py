"""Names in a tree of letters, as Clash (MRS) and sing-box (SRS) pack them, from the last letter to the first.

`bitmap` has a 0 for every edge of a node and then a 1, level by level; the n-th edge has the n-th byte of `labels` and
leads to the n-th node (the root being 0); `leaves` has a 1 for every node at which a name ends. Both are words of 64
bits, the lowest first.

Read first: https://github.com/openacid/succinct (which both programs took it from).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tunflow.errors import BadPacket


def bits_of(words: bytes) -> bytes:
    """Words of 64 bits, big-endian, as one byte `0` or `1` for each bit."""
    found = bytearray()
    for word in struct.unpack(f">{len(words) // 8}Q", words):
        found += f"{word:064b}".encode()[::-1]
    return bytes(found)


def names_untrusted(leaves: bytes, bitmap: bytes, labels: bytes) -> Iterator[bytes]:
    """The names of a tree, in the order of reading; `leaves` and `bitmap` as of `bits_of`. Raises BadPacket."""
    # Level by level: the texts of a level's nodes are those of the level above, each with an edge's letter.
    texts = [b""]
    at = edge = node = 0
    while texts:
        below: list[bytes] = []
        for text in texts:
            if leaves[node : node + 1] == b"1":
                yield text[::-1]
            node += 1
            while bitmap[at : at + 1] == b"0":
                if edge >= len(labels):
                    raise BadPacket("the packed list was cut short")
                below.append(text + labels[edge : edge + 1])
                at += 1
                edge += 1
            at += 1
        texts = below
