"""The blocks of a capture file, byte by byte."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from tunflow.wire import pcapng


def options_of(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while True:
        code, length = struct.unpack_from("<HH", data, at)
        if code == 0:
            assert at + 4 == len(data)
            return found
        found[code] = data[at + 4 : at + 4 + length]
        at += 4 + (length + 3) // 4 * 4


def test_section_header_block() -> None:
    block = pcapng.section_header("tunflow")
    assert len(block) % 4 == 0
    # draft-ietf-opsawg-pcapng §4.1, figure 9
    assert struct.unpack_from("<IIIHHq", block) == (0x0A0D0D0A, len(block), 0x1A2B3C4D, 1, 0, -1)
    assert block[-4:] == struct.pack("<I", len(block))
    assert options_of(block[24:-4]) == {4: b"tunflow"}


def test_interface_description_block() -> None:
    block = pcapng.interface_description("tunflow0")
    # §4.2, figure 10
    assert struct.unpack_from("<IIHHI", block) == (1, len(block), 101, 0, 262144)
    assert options_of(block[16:-4]) == {2: b"tunflow0", 9: b"\x09"}


@given(st.lists(st.binary(max_size=9), max_size=4), st.integers(0, 2**64 - 1))
def test_enhanced_packet_block(pieces: list[bytes], timestamp: int) -> None:
    packet = b"".join(pieces)
    block = pcapng.enhanced_packet(pieces, timestamp, pcapng.OUTBOUND)
    # §4.3, figure 11
    kind, length, interface, high, low, captured, original = struct.unpack_from("<7I", block)
    assert (kind, length, interface) == (6, len(block), 0)
    assert (high << 32 | low, captured, original) == (timestamp, len(packet), len(packet))
    assert block[28 : 28 + len(packet)] == packet
    assert len(block) % 4 == 0
    assert options_of(block[28 + (len(packet) + 3) // 4 * 4 : -4]) == {2: struct.pack("<I", 2)}
