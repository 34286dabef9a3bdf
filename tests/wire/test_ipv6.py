"""The IPv6 header and its extension headers."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.errors import BadPacket
from tunflow.wire import ipv6, protocols
from tunflow.wire.ipv6 import Extensions, Fragment

SRC, DST = bytes.fromhex("20010db8" + "00" * 11 + "01"), bytes.fromhex("20010db8" + "00" * 11 + "02")
PAD_6 = bytes([1, 4, 0, 0, 0, 0])


def packet_of(*chain: tuple[int, bytes], last: int = protocols.TCP, payload: bytes = b"") -> bytes:
    """A packet with these extension headers; each is its number and its bytes after the next-header byte."""
    numbers = [number for number, _ in chain] + [last]
    body = b"".join(bytes([following]) + rest for (_, rest), following in zip(chain, numbers[1:], strict=True))
    return ipv6.build(SRC, DST, numbers[0], len(body) + len(payload)) + body + payload


def fragment_header(offset: int, more: bool, identification: int = 9) -> tuple[int, bytes]:
    return protocols.FRAGMENT, struct.pack("!BHI", 0, offset | more, identification)


OPTIONS = bytes([0]) + PAD_6
LONG_OPTIONS = bytes([1, 1, 12]) + bytes(12)
DONE_ROUTING = bytes([0, 0, 0, 0, 0, 0, 0])


@given(
    st.binary(min_size=16, max_size=16),
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 0xFFFFF),
    st.integers(0, 64),
)
def test_ipv6_round_trip(src: bytes, next_header: int, hops: int, traffic_class: int, label: int, payload: int) -> None:
    built = ipv6.build(src, DST, next_header, payload, hop_limit=hops, traffic_class=traffic_class, flow_label=label)
    header = ipv6.parse_untrusted(built + bytes(payload) + b"padding")
    assert header == ipv6.IPv6Header(src, DST, next_header, hops, traffic_class, label, payload)
    assert header.total_length == 40 + payload


@pytest.mark.parametrize(
    "packet",
    [b"", packet_of()[:39], b"\x40" + packet_of()[1:], ipv6.build(SRC, DST, 6, 1)],
    ids=["empty", "short", "version", "payload over"],
)
def test_illegal_ipv6(packet: bytes) -> None:
    with pytest.raises(BadPacket):
        ipv6.parse_untrusted(packet)


def test_walk_without_extensions() -> None:
    assert ipv6.walk_extensions_untrusted(packet_of(payload=b"tcp")) == Extensions(protocols.TCP, 40, None, 6)


def test_walk_over_everything_walkable() -> None:
    packet = packet_of(
        (protocols.HOP_BY_HOP, OPTIONS),
        (protocols.DESTINATION_OPTIONS, LONG_OPTIONS),
        (protocols.ROUTING, DONE_ROUTING),
        fragment_header(0, more=False),
        (protocols.DESTINATION_OPTIONS, OPTIONS),
        last=protocols.UDP,
    )
    walked = ipv6.walk_extensions_untrusted(packet)
    assert walked == Extensions(
        protocols.UDP, 88, Fragment(0, False, 9, protocols.DESTINATION_OPTIONS, header_at=72, named_at=64), 80
    )
    assert packet[64] == protocols.FRAGMENT


def test_walk_ends_behind_a_later_fragment() -> None:
    # what follows looks like an extension header, and is data
    packet = packet_of(fragment_header(8, more=True), (protocols.DESTINATION_OPTIONS, bytes([255] * 7)))
    walked = ipv6.walk_extensions_untrusted(packet)
    assert walked == Extensions(60, 48, Fragment(8, True, 9, 60, header_at=40, named_at=6), 40)


@pytest.mark.parametrize("last", [protocols.AUTHENTICATION, protocols.ENCAPSULATING_SECURITY, 59, 253])
def test_walk_ends_at_what_it_does_not_know(last: int) -> None:
    packet = packet_of((protocols.HOP_BY_HOP, OPTIONS), last=last, payload=b"\xff")
    assert ipv6.walk_extensions_untrusted(packet) == Extensions(last, 48, None, 40)


@pytest.mark.parametrize(
    "packet",
    [
        packet_of((protocols.DESTINATION_OPTIONS, OPTIONS), (protocols.HOP_BY_HOP, OPTIONS)),
        packet_of(fragment_header(0, False), fragment_header(0, False)),
        packet_of(fragment_header(0, True), payload=bytes(9)),
        packet_of(fragment_header(0xFFF8, False), payload=bytes(8)),
        packet_of((protocols.ROUTING, bytes([0, 0, 1, 0, 0, 0, 0]))),
        packet_of((protocols.DESTINATION_OPTIONS, bytes([1]) + PAD_6)),
        packet_of((protocols.DESTINATION_OPTIONS, bytes([0, 1, 5, 0, 0, 0, 0]))),
        packet_of((protocols.DESTINATION_OPTIONS, bytes([0, 0, 0, 0, 0, 0, 1]))),
        packet_of((protocols.DESTINATION_OPTIONS, bytes([0, 0x80, 4, 0, 0, 0, 0]))),
        packet_of((protocols.HOP_BY_HOP, bytes([0, 0xC2, 4, 0, 1, 0, 0]))),
        packet_of(last=protocols.HOP_BY_HOP, payload=bytes(7)),
        packet_of(last=protocols.FRAGMENT, payload=bytes(7)),
        packet_of(*[(protocols.DESTINATION_OPTIONS, OPTIONS)] * 9),
    ],
    ids=[
        "late hop-by-hop",
        "two fragments",
        "odd fragment",
        "fragment beyond the end",
        "segments left",
        "header cut off",
        "option cut off",
        "option without length",
        "unknown option",
        "jumbo payload",
        "no room for options",
        "no room for a fragment",
        "too many",
    ],
)
def test_illegal_extensions(packet: bytes) -> None:
    with pytest.raises(BadPacket):
        ipv6.walk_extensions_untrusted(packet)


def test_as_many_extensions_as_allowed() -> None:
    packet = packet_of(*[(protocols.DESTINATION_OPTIONS, OPTIONS)] * 8)
    assert ipv6.walk_extensions_untrusted(packet).offset == 40 + 64


def test_unknown_options_that_may_be_skipped_are() -> None:
    packet = packet_of((protocols.HOP_BY_HOP, bytes([0, 5, 2, 0, 0, 0, 0])))  # router alert, RFC 2711
    assert ipv6.walk_extensions_untrusted(packet).offset == 48
