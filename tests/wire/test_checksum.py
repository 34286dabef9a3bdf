"""The Internet checksum against published examples and a naive twin."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from tunflow.wire.checksum import checksum, fold, pseudo_sum, raw_sum, sum_pieces, transport_checksum


def naive_sum(data: bytes) -> int:
    """RFC 1071 §4.1 word by word."""
    total = 0
    for (word,) in struct.iter_unpack("!H", data + bytes(len(data) % 2)):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_rfc_1071_example() -> None:
    # RFC 1071 §3
    assert raw_sum(bytes.fromhex("0001f203f4f5f6f7")) == 0xDDF2


def test_ipv4_header_example() -> None:
    # https://en.wikipedia.org/wiki/Internet_checksum#Calculating_the_IPv4_header_checksum
    header = bytes.fromhex("45000073000040004011 0000 c0a80001c0a800c7")
    assert checksum(header) == 0xB861
    assert checksum(header[:10] + b"\xb8\x61" + header[12:]) == 0


def test_zero_only_for_zeros() -> None:
    assert raw_sum(b"") == 0
    assert raw_sum(bytes(7)) == 0
    assert raw_sum(b"\xff\xff") == 0xFFFF
    assert raw_sum(b"\xff\xff" * 9) == 0xFFFF
    assert raw_sum(b"\xff\xfe\x00\x01") == 0xFFFF
    assert fold(0) == 0
    assert fold(65535) == fold(65535 * 4) == 65535
    assert fold(65536) == 1


@given(st.binary(max_size=300))
def test_raw_sum_is_the_naive_sum(data: bytes) -> None:
    assert raw_sum(data) == naive_sum(data)
    assert raw_sum(memoryview(data)) == raw_sum(bytearray(data)) == naive_sum(data)


@given(st.lists(st.binary(max_size=9), max_size=8))
def test_pieces_sum_as_if_joined(pieces: list[bytes]) -> None:
    assert sum_pieces(pieces) == naive_sum(b"".join(pieces))


@given(st.sampled_from([4, 16]), st.data())
def test_pseudo_sum_is_the_sum_of_the_pseudo_header(size: int, data: st.DataObject) -> None:
    address = st.binary(min_size=size, max_size=size)
    src, dst = data.draw(address), data.draw(address)
    protocol, length = data.draw(st.integers(0, 255)), data.draw(st.integers(0, 65535))
    header = struct.pack("!BBH", 0, protocol, length) if size == 4 else struct.pack("!II", length, protocol)
    assert pseudo_sum(src, dst, protocol, length) == naive_sum(src + dst + header)


@given(st.binary(min_size=8, max_size=99))
def test_transport_checksum_verifies_what_it_made(data: bytes) -> None:
    src, dst = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
    made = transport_checksum(src, dst, 17, data[:6] + bytes(2) + data[8:])
    segment = data[:6] + made.to_bytes(2, "big") + data[8:]
    assert transport_checksum(src, dst, 17, segment) == 0
    assert transport_checksum(src, dst, 17, bytes([segment[0] ^ 1]) + segment[1:]) != 0
