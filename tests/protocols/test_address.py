from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import BadPacket, LocalError
from tunflow.protocols import address

NAMES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255)
ENDPOINTS = st.builds(
    Endpoint,
    st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16) | NAMES,
    st.integers(0, 65535),
)


@pytest.mark.parametrize(
    ("target", "wire"),
    [
        (endpoint("8.8.8.8", 53), "01 08080808 0035"),
        (endpoint("2001:db8::1", 443), "04 20010db8000000000000000000000001 01bb"),
        (endpoint("example.com", 80), "03 0b 6578616d706c652e636f6d 0050"),
    ],
)
def test_layout(target, wire):
    assert address.encode(target) == bytes.fromhex(wire)
    assert address.parse_untrusted(bytes.fromhex(wire)) == (target, len(bytes.fromhex(wire)))


@given(ENDPOINTS, st.binary(max_size=20))
def test_round_trip_with_trailing_data(target, rest):
    wire = address.encode(target)
    assert len(wire) <= address.MAX_SIZE
    assert address.parse_untrusted(memoryview(wire + rest)) == (target, len(wire))


@given(ENDPOINTS)
def test_every_prefix_asks_for_more(target):
    wire = address.encode(target)
    assert all(address.parse_untrusted(wire[:size]) is None for size in range(len(wire)))


def test_name_that_reads_like_an_address_stays_a_name():
    assert address.parse_untrusted(b"\x03\x071.2.3.4\x00\x50") == (Endpoint("1.2.3.4", 80), 11)


@pytest.mark.parametrize(
    "wire",
    [
        b"\x00\x01\x02\x03\x04\x00\x50",
        b"\x02",
        b"\x05\x01",
        b"\x03\x00\x00\x50",
        b"\x03\x00",
        b"\x03\x04a\x00bc\x00\x50",
        b"\x03\x03a\nb\x00\x50",
        b"\x03\x03a b\x00\x50",
        b"\x03\x02\xc3\xa4\x00\x50",
    ],
)
def test_bad_addresses(wire):
    with pytest.raises(BadPacket):
        address.parse_untrusted(wire)


@pytest.mark.parametrize("name", ["", "a" * 256, "bücher.example", "two words", "nul\0"])
def test_names_that_cannot_be_sent(name):
    with pytest.raises(LocalError):
        address.encode(Endpoint(name, 80))


@given(st.binary(max_size=300))
def test_any_bytes(data):
    try:
        parsed = address.parse_untrusted(data)
    except BadPacket:
        return
    if parsed is not None:
        target, size = parsed
        assert address.encode(target) == data[:size]
