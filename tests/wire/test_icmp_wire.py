"""ICMP and ICMPv6 messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.errors import BadPacket
from tunflow.wire import icmp
from tunflow.wire.checksum import checksum

SRC, DST = bytes(15) + b"\x01", bytes(15) + b"\x02"
U16 = st.integers(0, 0xFFFF)
QUOTE = st.binary(max_size=100)
COMMON = (
    st.builds(icmp.Echo, st.booleans(), U16, U16, QUOTE)
    | st.builds(icmp.Unreachable, st.integers(5, 255), QUOTE)
    | st.builds(icmp.PacketTooBig, U16, QUOTE)
    | st.builds(icmp.TimeExceeded, st.integers(0, 1), QUOTE)
    | st.builds(icmp.Other, st.integers(40, 120), st.integers(0, 255), st.integers(0, 0xFFFFFFFF), QUOTE)
)


@given(COMMON)
def test_icmp_v4_round_trip(message: icmp.Message) -> None:
    assert icmp.parse_v4_untrusted(icmp.build_v4(message)) == message


@given(COMMON)
def test_icmp_v6_round_trip(message: icmp.Message) -> None:
    data = icmp.build_v6(SRC, DST, message)
    assert icmp.parse_v6_untrusted(SRC, DST, data) == message
    with pytest.raises(BadPacket):
        icmp.parse_v6_untrusted(SRC, DST[:-1] + b"\x03", data)


def test_echo_reply_as_on_the_wire() -> None:
    # https://www.rfc-editor.org/rfc/rfc792 page 14; ping's own checksum of an empty request with id 1,
    # sequence 9
    assert icmp.build_v4(icmp.Echo(True, 1, 9, b"")).hex() == "0800f7f500010009"
    assert icmp.build_v4(icmp.Echo(False, 1, 9, b"")).hex() == "0000fff500010009"


def test_numbers_of_the_errors() -> None:
    def head(data: bytes) -> tuple[int, int, str]:
        return data[0], data[1], data[4:8].hex()

    assert head(icmp.build_v4(icmp.PacketTooBig(1400, b""))) == (3, 4, "00000578")  # RFC 1191 §4
    assert head(icmp.build_v6(SRC, DST, icmp.PacketTooBig(1400, b""))) == (2, 0, "00000578")  # RFC 4443 §3.2
    assert head(icmp.build_v4(icmp.Unreachable(icmp.UnreachableV4.PORT, b""))) == (3, 3, "00000000")
    assert head(icmp.build_v6(SRC, DST, icmp.Unreachable(icmp.UnreachableV6.PORT, b""))) == (1, 4, "00000000")
    assert head(icmp.build_v4(icmp.TimeExceeded(0, b""))) == (11, 0, "00000000")
    assert head(icmp.build_v6(SRC, DST, icmp.TimeExceeded(1, b""))) == (3, 1, "00000000")
    unknown = icmp.ParameterProblem(icmp.UNRECOGNIZED_NEXT_HEADER, 40, b"")
    assert head(icmp.build_v6(SRC, DST, unknown)) == (4, 1, "00000028")  # RFC 4443 §3.4
    assert head(icmp.build_v4(icmp.ParameterProblem(0, 9, b""))) == (12, 0, "09000000")  # RFC 792
    assert head(icmp.build_v6(SRC, DST, icmp.Echo(True, 1, 2, b""))) == (128, 0, "00010002")
    assert head(icmp.build_v6(SRC, DST, icmp.Echo(False, 1, 2, b""))) == (129, 0, "00010002")


def test_quotes_fit_the_smallest_packet() -> None:
    offending = bytes(2000)
    for error in (
        icmp.Unreachable(1, offending),
        icmp.PacketTooBig(1280, offending),
        icmp.TimeExceeded(0, offending),
        icmp.ParameterProblem(0, 0, offending),
    ):
        assert 20 + len(icmp.build_v4(error)) == 576  # RFC 1812 §4.3.2.3
        assert 40 + len(icmp.build_v6(SRC, DST, error)) == 1280  # RFC 4443 §2.4 (c)
    assert len(icmp.build_v4(icmp.Echo(True, 0, 0, offending))) == 2008


def test_echo_with_a_code_is_not_an_echo() -> None:
    blank = bytes([8, 1, 0, 0, 0, 0, 0, 0])
    data = blank[:2] + checksum(blank).to_bytes(2, "big") + blank[4:]
    assert icmp.parse_v4_untrusted(data) == icmp.Other(8, 1, 0, b"")


@pytest.mark.parametrize(
    "data", [b"", bytes(7), bytes([8, 0, 0xF7, 0xF6, 0, 1, 0, 9])], ids=["empty", "short", "checksum"]
)
def test_illegal_icmp(data: bytes) -> None:
    with pytest.raises(BadPacket):
        icmp.parse_v4_untrusted(data)
    with pytest.raises(BadPacket):
        icmp.parse_v6_untrusted(SRC, DST, data)
