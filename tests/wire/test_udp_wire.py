"""The UDP header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.errors import BadPacket
from tunflow.wire import udp

U16 = st.integers(0, 0xFFFF)


@given(U16, U16, st.integers(0, 99), U16)
def test_udp_round_trip(source: int, destination: int, payload: int, checksum: int) -> None:
    built = udp.build(source, destination, payload, checksum=checksum)
    parsed = udp.parse_untrusted(built + bytes(payload) + b"padding")
    assert parsed == udp.UDPHeader(source, destination, 8 + payload, checksum)


def test_udp_layout() -> None:
    assert udp.build(53, 0x1234, 4, checksum=0xABCD).hex() == "00351234000cabcd"


@pytest.mark.parametrize(
    "datagram",
    [b"", bytes(7), bytes(8), bytes.fromhex("0001000200070000"), bytes.fromhex("0001000200090000")],
    ids=["empty", "short", "length zero", "length under", "length over"],
)
def test_illegal_udp(datagram: bytes) -> None:
    with pytest.raises(BadPacket):
        udp.parse_untrusted(datagram)
