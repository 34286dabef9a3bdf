"""Packs rules as sing-box does, from what its format says: the peer of our reader."""

from __future__ import annotations

import ipaddress
import struct
import zlib


def uvarint(number: int) -> bytes:
    made = b""
    while number > 0x7F:
        made += bytes([number & 0x7F | 0x80])
        number >>= 7
    return made + bytes([number])


def texts(values: list[str]) -> bytes:
    return uvarint(len(values)) + b"".join(uvarint(len(each.encode())) + each.encode() for each in values)


def numbers(values: list[int]) -> bytes:
    return uvarint(len(values)) + struct.pack(f">{len(values)}H", *values)


def words(bits: list[int]) -> bytes:
    made = [0] * ((len(bits) + 63) // 64)
    for at, bit in enumerate(bits):
        made[at // 64] |= bit << at % 64
    return uvarint(len(made)) + struct.pack(f">{len(made)}Q", *made)


def tree(names: list[str]) -> bytes:
    """A tree of letters, the last one of each name first."""
    keys = sorted(name.encode()[::-1] for name in names)
    leaves: list[int] = []
    bitmap: list[int] = []
    labels = b""
    queue = [(0, len(keys), 0)]
    for first, end, column in queue:
        leaves.append(int(column == len(keys[first])))
        at = first + leaves[-1]
        while at < end:
            begin = at
            while at < end and keys[at][column] == keys[begin][column]:
                at += 1
            queue.append((begin, at, column + 1))
            labels += keys[begin][column : column + 1]
            bitmap.append(0)
        bitmap.append(1)
    return b"\0" + words(leaves) + words(bitmap) + uvarint(len(labels)) + labels


def ranges(networks: list[str]) -> bytes:
    found = [ipaddress.ip_network(each) for each in networks]
    made = b"\1" + struct.pack(">Q", len(found))
    for each in found:
        for address in (each[0], each[-1]):
            made += uvarint(len(address.packed)) + address.packed
    return made


def packed(*rules: bytes, version: int = 2) -> bytes:
    return b"SRS" + bytes([version]) + zlib.compress(uvarint(len(rules)) + b"".join(rules))


def rule(*items: tuple[int, bytes], invert: bool = False) -> bytes:
    return b"\0" + b"".join(bytes([kind]) + value for kind, value in items) + bytes([0xFF, invert])


def logical(mode: int, *rules: bytes, invert: bool = False) -> bytes:
    return bytes([1, mode]) + uvarint(len(rules)) + b"".join(rules) + bytes([invert])
