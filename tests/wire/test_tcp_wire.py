"""The TCP header and its options."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.errors import BadPacket
from tunflow.wire import tcp
from tunflow.wire.tcp import Options

U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFFFFFF)
OPTIONS = st.builds(
    Options,
    st.none() | st.integers(1, 0xFFFF),
    st.none() | st.integers(0, 14),
    st.booleans(),
    st.lists(st.tuples(U32, U32), max_size=5).map(tuple),
    st.none() | st.tuples(U32, U32),
)


def test_options_of_a_linux_syn() -> None:
    # captured with tcpdump from Linux 6.18: mss 1460, sackOK, TS val 1 ecr 0, nop, wscale 7
    data = bytes.fromhex("020405b40402080a000000010000000001030307")
    assert tcp.parse_options(data) == Options(1460, 7, True, (), (1, 0))


def test_options_of_an_ordinary_segment() -> None:
    data = bytes.fromhex("0101080a0000000200000003")
    assert tcp.parse_options(data) == Options(timestamps=(2, 3))
    assert tcp.build_options(Options(timestamps=(2, 3))) == data


@given(OPTIONS)
def test_options_round_trip(options: Options) -> None:
    data = tcp.build_options(options)
    assert len(data) % 4 == 0
    assert len(data) <= 40
    parsed = tcp.parse_options(data)
    assert parsed._replace(sack=()) == options._replace(sack=())
    assert parsed.sack == options.sack[: len(parsed.sack)]
    # RFC 2018 §3: four blocks alone, three beside timestamps
    alone = options.mss is None and options.window_scale is None and not options.sack_permitted
    if alone:
        assert len(parsed.sack) == min(len(options.sack), 3 if options.timestamps else 4)


@given(st.binary(max_size=44))
def test_parse_options_never_raises(data: bytes) -> None:
    options = tcp.parse_options(data)
    assert options.window_scale is None or 0 <= options.window_scale <= 14
    assert len(options.sack) <= 4


@given(OPTIONS, st.binary(max_size=6))
def test_what_was_legal_is_kept(options: Options, junk: bytes) -> None:
    """A cut-off option behind legal ones ends the walk and takes nothing back."""
    data = tcp.build_options(options)
    assert tcp.parse_options(data + b"\x09\x28" + junk) == tcp.parse_options(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("020405b4 00 030307", Options(mss=1460)),  # end of options
        ("020405b4 03", Options(mss=1460)),  # no length
        ("020405b4 0300", Options(mss=1460)),  # a length that would loop for ever
        ("020405b4 0301", Options(mss=1460)),
        ("020405b4 03040707 0402", Options(mss=1460)),  # a wrong length of a known option
        ("020405b4 050a0000000100", Options(mss=1460)),  # cut off
        ("020405b4 0509 00000001000000", Options(mss=1460)),
        ("020405b4 050200", Options(mss=1460)),  # SACK without blocks
        ("fd04ffff 020405b4", Options(mss=1460)),  # unknown, skipped (RFC 9293 MUST-6)
        ("0303ff", Options(window_scale=14)),  # RFC 7323 §2.3
        ("03030e", Options(window_scale=14)),
        ("02040000", Options()),  # an MSS of zero says nothing
        ("020405b4 020405dc", Options(mss=1500)),
        ("", Options()),
    ],
)
def test_option_cases(data: str, expected: Options) -> None:
    assert tcp.parse_options(bytes.fromhex(data)) == expected


@given(U16, U16, U32, U32, st.integers(0, 255), U16, OPTIONS, U16, U16)
def test_tcp_round_trip(
    source: int,
    destination: int,
    sequence: int,
    acknowledgement: int,
    flags: int,
    window: int,
    options: Options,
    checksum: int,
    urgent: int,
) -> None:
    options = tcp.parse_options(tcp.build_options(options))
    built = tcp.build(
        source,
        destination,
        sequence,
        acknowledgement,
        flags,
        window,
        options=options,
        checksum=checksum,
        urgent_pointer=urgent,
    )
    assert tcp.parse_untrusted(built + b"payload") == tcp.TCPHeader(
        source, destination, sequence, acknowledgement, len(built), flags, window, checksum, urgent, options
    )


def test_header_layout() -> None:
    # RFC 9293 §3.1, figure 1
    built = tcp.build(
        80, 8080, 0x01020304, 0x05060708, tcp.SYN | tcp.ACK, 0x1122, checksum=0x3344, urgent_pointer=0x5566
    )
    assert built.hex() == "00501f9001020304050607085012112233445566"


@pytest.mark.parametrize(
    "segment",
    [b"", bytes(19), bytes(12) + b"\x40" + bytes(7), bytes(12) + b"\x60" + bytes(7)],
    ids=["empty", "short", "offset under", "offset over"],
)
def test_illegal_tcp(segment: bytes) -> None:
    with pytest.raises(BadPacket):
        tcp.parse_untrusted(segment)


@given(
    mss=st.integers(0, 65535),
    stamps=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    shift=st.integers(0, 255),
)
def test_the_short_cut_for_linux_says_what_the_walk_says(mss, stamps, shift):
    data = struct.pack("!BBHHBBIIBBBB", 2, 4, mss, 0x0402, 8, 10, *stamps, 1, 3, 3, shift)
    assert tcp.parse_options(data) == tcp.parse_options(data + b"\x01")


LINUX_SYN = bytes.fromhex("020405b40402080a000000010000000001030307")


@given(
    st.binary(max_size=40)
    | OPTIONS.map(tcp.build_options)
    | st.tuples(st.integers(0, 19), st.integers(0, 255)).map(
        lambda change: LINUX_SYN[: change[0]] + bytes((change[1],)) + LINUX_SYN[change[0] + 1 :]
    )
    | st.integers(0, 20).map(lambda size: LINUX_SYN[:size])
)
def test_lasting_options_are_all_but_the_timestamps(data):
    assert tcp.parse_lasting_options(data) == tcp.parse_options(data)._replace(timestamps=None)


def test_lasting_options_of_the_next_syn_are_the_same():
    later = LINUX_SYN[:8] + bytes.fromhex("01020304") + LINUX_SYN[12:]
    assert tcp.parse_lasting_options(later) is tcp.parse_lasting_options(LINUX_SYN)
