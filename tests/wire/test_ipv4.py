"""The IPv4 header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.errors import BadPacket
from tunflow.wire import ipv4
from tunflow.wire.checksum import checksum

SRC, DST = bytes([192, 168, 0, 1]), bytes([192, 168, 0, 199])


def with_checksum(header: bytes) -> bytes:
    blank = header[:10] + bytes(2) + header[12:]
    return blank[:10] + checksum(blank).to_bytes(2, "big") + blank[12:]


def test_build_is_the_published_header() -> None:
    # https://en.wikipedia.org/wiki/Internet_checksum#Calculating_the_IPv4_header_checksum
    built = ipv4.build(SRC, DST, 17, 0x73 - 20)
    assert built == bytes.fromhex("45000073000040004011b861c0a80001c0a800c7")


@given(
    st.binary(min_size=4, max_size=4),
    st.binary(min_size=4, max_size=4),
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 65535),
    st.booleans(),
    st.integers(0, 255),
    st.integers(0, 64),
)
def test_ipv4_round_trip(
    src: bytes,
    dst: bytes,
    protocol: int,
    ttl: int,
    identification: int,
    dont_fragment: bool,
    tos: int,
    payload: int,
) -> None:
    built = ipv4.build(
        src,
        dst,
        protocol,
        payload,
        ttl=ttl,
        identification=identification,
        dont_fragment=dont_fragment,
        type_of_service=tos,
    )
    header = ipv4.parse_untrusted(built + bytes(payload) + b"link padding")
    assert header == ipv4.IPv4Header(
        src, dst, protocol, ttl, identification, dont_fragment, False, 0, tos, 20, 20 + payload
    )
    assert not header.is_fragment


def test_a_checksum_of_zero_is_written_as_zero() -> None:
    blank = ipv4.build(SRC, DST, 6, 0)
    identification = int.from_bytes(blank[10:12], "big")  # what was missing to a sum of 0xffff
    built = ipv4.build(SRC, DST, 6, 0, identification=identification)
    assert built[10:12] == b"\0\0"
    assert built == with_checksum(built)
    ipv4.parse_untrusted(built)


def test_options_and_fragments() -> None:
    words = ipv4.HEADER.pack(0x46, 0, 24 + 8, 7, ipv4.MORE_FRAGMENTS | 185, 64, 17, 0, SRC, DST)
    packet = with_checksum(words + bytes([1, 1, 1, 0])) + bytes(8)
    header = ipv4.parse_untrusted(packet)
    assert (header.header_length, header.total_length) == (24, 32)
    assert (header.fragment_offset, header.more_fragments, header.is_fragment) == (1480, True, True)


def good(total: int = 20, version_ihl: int = 0x45, fragment: int = 0) -> bytes:
    return with_checksum(ipv4.HEADER.pack(version_ihl, 0, total, 0, fragment, 64, 6, 0, SRC, DST))


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        good()[:19],
        good(version_ihl=0x65),
        good(version_ihl=0x44),
        good(version_ihl=0x46),
        good(total=21),
        good(total=19),
        good(total=28, fragment=0x1FFF) + bytes(8),
        good()[:10] + b"\0\0" + good()[12:],
    ],
    ids=[
        "empty",
        "short",
        "version",
        "ihl",
        "ihl over",
        "total over",
        "total under",
        "ping of death",
        "checksum",
    ],
)
def test_illegal_ipv4(packet: bytes) -> None:
    with pytest.raises(BadPacket):
        ipv4.parse_untrusted(packet)


def test_the_largest_fragment_is_legal() -> None:
    # RFC 791: 65535 bytes in all, so data up to byte 65515
    assert ipv4.parse_untrusted(good(total=20 + 3, fragment=8189) + bytes(3)).fragment_offset == 65512
    with pytest.raises(BadPacket):
        ipv4.parse_untrusted(good(total=20 + 4, fragment=8189) + bytes(4))


def with_options(options: bytes) -> bytes:
    header = bytearray(ipv4.build(bytes(4), bytes(4), 17, 8) + options)
    header[0] = 0x40 | len(header) // 4
    header[2:4] = (len(header) + 8).to_bytes(2, "big")
    header[10:12] = bytes(2)
    header[10:12] = checksum(header).to_bytes(2, "big")
    return bytes(header) + bytes(8)


@pytest.mark.parametrize(
    "options",
    [
        bytes(4),  # the end at once
        bytes([1, 1, 1, 0]),
        bytes([7, 7, 4, 0, 0, 0, 0, 0]),  # record route
        bytes([148, 4, 0, 0]),  # router alert, RFC 2113
        bytes([0, 131, 99, 99]),  # behind the end there is padding
        bytes([1, 1, 0x9E, 2]),
    ],
)
def test_options_are_ignored(options):
    assert ipv4.parse_untrusted(with_options(options)).header_length == 20 + len(options)


@pytest.mark.parametrize("options", [bytes([131, 3, 4, 0]), bytes([1, 137, 3, 4])])
def test_a_packet_that_brings_its_route_is_refused(options):
    # RFC 7126 §4.3.5 and §4.4.5
    with pytest.raises(BadPacket, match="source route"):
        ipv4.parse_untrusted(with_options(options))


@pytest.mark.parametrize(
    "options", [bytes([7, 1, 0, 0]), bytes([7, 0, 0, 0]), bytes([1, 1, 1, 7]), bytes([7, 5, 0, 0])]
)
def test_options_that_are_cut_off_are_refused(options):
    with pytest.raises(BadPacket, match="cut off"):
        ipv4.parse_untrusted(with_options(options))
