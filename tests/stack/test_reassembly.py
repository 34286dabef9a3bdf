"""Fragments in any order, twice, overlapping, too many, too late."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.errors import BadPacket
from tunflow.stack.reassembly import OVERHEAD, TIMEOUT, Reassembler
from tunflow.wire import ipv4, ipv6, protocols

V4 = bytes([10, 0, 0, 1]), bytes([192, 0, 2, 1])
V6 = bytes.fromhex("fd000000000000000000000000000001"), bytes.fromhex("20010db8000000000000000000000001")


def ones_complement_sum(data: bytes) -> int:
    """RFC 1071 word by word: not the code under test."""
    total = 0
    for i in range(0, len(data), 2):
        total += int.from_bytes(data[i : i + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total


def fragment_v4(data: bytes, offset: int, more: bool, identification: int = 7, options: bytes = b"") -> bytes:
    header = bytearray(ipv4.HEADER.size)
    size = 20 + len(options)
    word = (0x2000 if more else 0) | offset // 8
    ipv4.HEADER.pack_into(header, 0, 0x40 | size // 4, 0, size + len(data), identification, word, 64, 17, 0, *V4)
    header += options
    header[10:12] = (0xFFFF ^ ones_complement_sum(header)).to_bytes(2, "big")
    return bytes(header) + data


def fragment_v6(data: bytes, offset: int, more: bool, identification: int = 7, *, before: bytes = b"") -> bytes:
    """`before` is a destination options header that the Fragment header follows."""
    rest = before + ipv6.FRAGMENT_HEADER.pack(17, 0, offset | more, identification) + data
    return ipv6.build(*V6, protocols.DESTINATION_OPTIONS if before else 44, len(rest)) + rest


def add(reassembler: Reassembler, packet: bytes, now: float = 0.0) -> bytes | None:
    view = memoryview(packet)
    if packet[0] >> 4 == 4:
        return reassembler.add_ipv4_untrusted(view, ipv4.parse_untrusted(view), now)
    fragment = ipv6.walk_extensions_untrusted(view).fragment
    assert fragment is not None
    return reassembler.add_ipv6_untrusted(view, fragment, now)


def payload_of(packet: bytes | None) -> bytes | None:
    """The payload, once the header is found to be that of a packet which nobody fragmented."""
    if packet is None:
        return None
    if packet[0] >> 4 == 4:
        header = ipv4.parse_untrusted(packet)
        assert not header.is_fragment
        assert header.total_length == len(packet)
        assert ones_complement_sum(packet[: header.header_length]) == 0xFFFF
        return packet[header.header_length :]
    assert ipv6.parse_untrusted(packet).total_length == len(packet)
    extensions = ipv6.walk_extensions_untrusted(packet)
    assert extensions.fragment is None
    assert extensions.next_header == 17
    return packet[extensions.offset :]


families = pytest.mark.parametrize("fragment", [fragment_v4, fragment_v6], ids=["IPv4", "IPv6"])


@given(
    data=st.binary(min_size=17, max_size=400),
    cuts=st.sets(st.integers(1, 49), min_size=1),
    seed=st.integers(0, 1 << 32),
)
@families
def test_fragments_make_their_packet_in_any_order_and_with_duplicates(fragment, data, cuts, seed):
    edges = [0, *sorted(cut * 8 for cut in cuts if cut * 8 < len(data)), len(data)]
    pieces = [fragment(data[start:end], start, end < len(data)) for start, end in pairwise(edges) if len(edges) > 2]
    order = pieces + pieces[: len(pieces) // 2]
    Random(seed).shuffle(order)
    reassembler = Reassembler()
    seen: set[bytes] = set()
    for piece in order:
        whole = add(reassembler, piece)
        seen.add(piece)
        if len(seen) == len(pieces):
            assert payload_of(whole) == data
            assert reassembler.held == len(reassembler) == 0
            break
        assert whole is None
    assert reassembler.dropped == 0


class NaiveDatagram:
    """What the rules say, byte by byte."""

    def __init__(self) -> None:
        self.seen: set[tuple[int, bytes, bool]] = set()
        self.bytes: dict[int, int] = {}
        self.end: int | None = None
        self.dead = False

    def add(self, data: bytes, start: int, more: bool) -> bytes | None:
        if self.dead or (start, data, more) in self.seen:
            return None
        self.seen.add((start, data, more))
        places = range(start, start + len(data))
        if not more and self.end is None:
            self.end = places.stop
        elif not more:
            self.dead = True
        if any(place in self.bytes for place in places):
            self.dead = True
        self.bytes.update(zip(places, data, strict=True))
        if self.end is not None and max(self.bytes) >= self.end:
            self.dead = True
        if self.dead or self.end is None or len(self.bytes) < self.end:
            return None
        return bytes(self.bytes[place] for place in range(self.end))


def some_fragment(words: int, start: int, fill: int, more: bool, short: int) -> tuple[bytes, int, bool]:
    size = words * 8 if more else words * 8 - short
    return bytes([fill]) * size, start * 8, more or (start == 0)  # not the unfragmented packet


@given(
    st.lists(
        st.builds(
            some_fragment,
            st.integers(1, 3),
            st.integers(0, 6),
            st.integers(0, 1),
            st.booleans(),
            st.integers(0, 7),
        ).filter(lambda it: not it[2] or len(it[0]) % 8 == 0),
        max_size=12,
    )
)
@families
def test_any_sequence_of_fragments_does_what_the_naive_twin_does(fragment, sequence):
    reassembler, naive = Reassembler(), NaiveDatagram()
    for data, start, more in sequence:
        expected = naive.add(data, start, more)
        assert payload_of(add(reassembler, fragment(data, start, more))) == expected
        assert reassembler.dropped == naive.dead
        if expected is not None:
            naive = NaiveDatagram()


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 40), st.integers(1, 40), st.booleans()), max_size=60))
def test_memory_stays_within_the_capacity_and_is_counted_right(fragments):
    capacity = 6 * OVERHEAD
    reassembler = Reassembler(capacity=capacity)
    for now, (identification, start, words, more) in enumerate(fragments):
        data = bytes(words * 8)
        add(reassembler, fragment_v4(data, start * 8, more or start == 0, identification), now / 4)
        assert 0 <= reassembler.held <= capacity
        assert (reassembler.held == 0) == (len(reassembler) == 0)
    reassembler.handle_timeout(1e9)
    assert (reassembler.held, len(reassembler), reassembler.next_timeout()) == (0, 0, None)


def test_the_oldest_datagram_makes_room():
    reassembler = Reassembler(capacity=2 * (2 * OVERHEAD + 8))
    for identification in (1, 2, 3):
        assert add(reassembler, fragment_v4(bytes(8), 0, True, identification)) is None
    assert reassembler.dropped == 1
    assert add(reassembler, fragment_v4(b"end", 8, False, 2)) is not None
    assert add(reassembler, fragment_v4(b"end", 8, False, 3)) is not None
    assert add(reassembler, fragment_v4(b"end", 8, False, 1)) is None


@families
def test_an_overlap_kills_the_datagram_and_what_still_comes_of_it(fragment):
    reassembler = Reassembler()
    for data, start, more in ((bytes(16), 0, True), (bytes(16), 8, True), (b"end", 24, False)):
        assert add(reassembler, fragment(data, start, more)) is None
    assert reassembler.dropped == 1
    for data, start, more in ((bytes(8), 0, True), (b"end", 8, False)):  # a sound one, but the same datagram
        assert add(reassembler, fragment(data, start, more), TIMEOUT - 1) is None
    reassembler.handle_timeout(TIMEOUT)
    assert reassembler.dropped == 1
    assert add(reassembler, fragment(bytes(8), 0, True), TIMEOUT) is None
    assert payload_of(add(reassembler, fragment(b"end", 8, False), TIMEOUT)) == bytes(8) + b"end"


@families
@pytest.mark.parametrize("more", [False, True])
def test_the_same_bytes_cannot_be_last_and_not_last(fragment, more):
    reassembler = Reassembler()
    add(reassembler, fragment(bytes(8), 8, more))
    add(reassembler, fragment(bytes(8), 8, more))
    assert reassembler.dropped == 0
    add(reassembler, fragment(bytes(8), 8, not more))
    assert reassembler.dropped == 1


@families
def test_time_runs_from_the_first_fragment(fragment):
    reassembler = Reassembler()
    assert reassembler.next_timeout() is None
    add(reassembler, fragment(bytes(8), 0, True), 100.0)
    add(reassembler, fragment(bytes(8), 8, True), 120.0)
    assert reassembler.next_timeout() == 100.0 + TIMEOUT
    reassembler.handle_timeout(100.0 + TIMEOUT - 0.001)
    assert len(reassembler) == 1
    reassembler.handle_timeout(100.0 + TIMEOUT)
    assert (len(reassembler), reassembler.held, reassembler.dropped) == (0, 0, 1)


@families
def test_a_fragment_after_the_deadline_starts_anew_even_if_the_timer_is_late(fragment):
    reassembler = Reassembler()
    add(reassembler, fragment(bytes(8), 0, True), 0.0)
    assert add(reassembler, fragment(b"end", 8, False), TIMEOUT) is None
    assert reassembler.dropped == 1
    assert payload_of(add(reassembler, fragment(b"\1" * 8, 0, True), TIMEOUT)) == b"\1" * 8 + b"end"


def test_datagrams_that_differ_in_any_part_of_their_key_do_not_mix():
    reassembler = Reassembler()
    first = bytearray(fragment_v4(bytes(8), 0, True))
    add(reassembler, bytes(first))
    other_protocol = bytearray(fragment_v4(b"end", 8, False))
    other_protocol[9] = 6
    other_protocol[10:12] = bytes(2)
    other_protocol[10:12] = (0xFFFF ^ ones_complement_sum(other_protocol[:20])).to_bytes(2, "big")
    assert add(reassembler, bytes(other_protocol)) is None
    assert add(reassembler, fragment_v4(b"end", 8, False, identification=8)) is None
    assert len(reassembler) == 3


def test_ipv6_atomic_fragments_are_packets_of_their_own():
    # RFC 6946 §4: even while fragments with the same identification wait.
    reassembler = Reassembler()
    add(reassembler, fragment_v6(bytes(8), 0, True))
    assert payload_of(add(reassembler, fragment_v6(b"atom", 0, False))) == b"atom"
    assert payload_of(add(reassembler, fragment_v6(b"end", 8, False))) == bytes(8) + b"end"


def test_headers_before_the_ipv6_fragment_header_stay():
    options = bytes([44, 0, 1, 4, 0, 0, 0, 0])  # PadN, then the Fragment header
    reassembler = Reassembler()
    add(reassembler, fragment_v6(bytes(8), 0, True, before=options))
    whole = add(reassembler, fragment_v6(b"end", 8, False, before=options))
    assert whole is not None
    assert whole[40:48] == bytes([17]) + options[1:]
    assert payload_of(whole) == bytes(8) + b"end"


def test_options_of_the_first_ipv4_fragment_stay():
    reassembler = Reassembler()
    add(reassembler, fragment_v4(b"end", 8, False))
    whole = add(reassembler, fragment_v4(bytes(8), 0, True, options=bytes([1, 1, 1, 0])))
    assert whole is not None
    assert whole[20:24] == bytes([1, 1, 1, 0])
    assert payload_of(whole) == bytes(8) + b"end"


@families
def test_what_cannot_be_a_fragment_is_a_bad_packet(fragment):
    for data, start, more in ((b"", 8, False), (bytes(7), 0, True), (bytes(64), 65528, False)):
        with pytest.raises(BadPacket):
            add(Reassembler(), fragment(data, start, more))


def test_a_packet_too_long_for_its_header_is_dropped():
    # 20 bytes of header, 4 of options: 65512 bytes of payload do not fit any more, though each fragment does.
    options = bytes([1, 1, 1, 0])
    reassembler = Reassembler()
    add(reassembler, fragment_v4(bytes(65504), 0, True, options=options))
    assert add(reassembler, fragment_v4(bytes(8), 65504, False)) is None
    assert (reassembler.dropped, reassembler.held) == (1, OVERHEAD)
    reassembler = Reassembler()
    add(reassembler, fragment_v4(bytes(65504), 0, True, options=options))
    assert add(reassembler, fragment_v4(bytes(7), 65504, False)) is not None


@pytest.mark.parametrize(("options", "fits"), [(b"", True), (bytes([44, 0, 1, 4, 0, 0, 0, 0]), False)])
def test_the_ipv6_payload_length_is_the_limit(options, fits):
    # 65535 bytes of fragmented payload are all there can be; an extension header before them counts, the IPv6 header
    # not.
    reassembler = Reassembler()
    add(reassembler, fragment_v6(bytes(32768), 0, True, before=options))
    add(reassembler, fragment_v6(bytes(32760), 32768, True))
    whole = add(reassembler, fragment_v6(bytes(7), 65528, False))
    assert (whole is not None) is fits
    assert reassembler.dropped == (not fits)
