"""Joining TCP segments, against the cutting of super-segments as its inverse."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.wire import ipv4, protocols, tcp, virtio_net
from tunflow.wire.checksum import checksum, pseudo_sum, transport_checksum
from tunflow.wire.coalesce import LARGEST_JOINED, coalesce
from tunflow.wire.offload import segment

SRC, DST = bytes([10, 7, 0, 1]), bytes([10, 7, 0, 2])
STAMPS = tcp.Options(timestamps=(5, 6))


def plain(
    sequence: int,
    payload: bytes,
    *,
    flags: int = tcp.ACK,
    identification: int = 0,
    source: int = 80,
    window: int = 500,
    ack: int = 7,
    options: tcp.Options = STAMPS,
) -> bytes:
    def body(value: int) -> bytes:
        sequence_ = sequence & 0xFFFFFFFF
        return tcp.build(source, 2, sequence_, ack, flags, window, options=options, checksum=value) + payload

    whole = body(transport_checksum(SRC, DST, protocols.TCP, body(0)))
    return ipv4.build(SRC, DST, protocols.TCP, len(whole), identification=identification) + whole


def run(count: int, size: int = 100, last: int = 0, **more: int) -> list[bytes]:
    first = [plain(number * size, bytes([number]) * size, identification=number, **more) for number in range(count)]
    return first + ([plain(count * size, b"z" * last, identification=count, **more)] if last else [])


def cut(packets: list) -> list[bytes]:
    return [b"".join(pieces) for packet in packets for pieces in segment(packet)]


@given(
    sequence=st.integers(0, 2**32 - 1),
    payload=st.binary(min_size=1, max_size=4000),
    size=st.integers(1, 1400),
    flags=st.sampled_from([tcp.ACK, tcp.ACK | tcp.PSH, tcp.ACK | tcp.FIN | tcp.PSH, tcp.ACK | tcp.ECE]),
    identification=st.integers(0, 65535),
)
def test_what_is_cut_is_joined_again(sequence, payload, size, flags, identification):
    partial = pseudo_sum(SRC, DST, protocols.TCP, 32 + len(payload))
    header = tcp.build(1, 2, sequence, 7, flags, 500, options=STAMPS, checksum=partial)
    ip = ipv4.build(SRC, DST, protocols.TCP, 32 + len(payload), identification=identification)
    vnet = virtio_net.HEADER.pack(virtio_net.NEEDS_CSUM, virtio_net.GSO_TCPV4, 52, size, 20, 16)
    segments = cut([[vnet, ip + header, payload]])
    (joined,) = coalesce(segments)
    assert cut([joined]) == segments
    if len(segments) > 1:
        assert b"".join(joined) == vnet + ip + header + payload


def test_two_flows_between_each_other():
    one, other = run(5), run(5, source=81)
    joined = coalesce([packet for pair in zip(one, other, strict=True) for packet in pair])
    assert len(joined) == 2
    assert cut(joined) == one + other


def test_a_super_segment_is_never_longer_than_an_ipv4_packet():
    packets = run(60, size=1380)
    joined = coalesce(packets)
    assert len(joined) == 2
    assert max(sum(map(len, packet)) for packet in joined) <= 65535 + len(virtio_net.PLAIN)
    assert cut(joined) == packets


@pytest.mark.parametrize("at", [15, 25, 45, 60, 151])
def test_a_wrong_checksum_is_not_hidden(at):
    """A bit of the address, of the TCP header, of its options, of the payload's first and last byte."""
    packets = run(6)
    broken = bytearray(packets[3])
    broken[at] ^= 1
    if at == 15:  # the addresses are covered twice: the IP header alone is made right again
        struct.pack_into("!H", broken, 10, 0)
        struct.pack_into("!H", broken, 10, checksum(broken[:20]))
    packets[3] = bytes(broken)
    assert sorted(cut(coalesce(packets))) == sorted(packets)
    assert (virtio_net.PLAIN, packets[3]) in [(front, bytes(rest[0])) for front, *rest in coalesce(packets)]


def test_a_first_segment_with_a_wrong_checksum_goes_alone():
    packets = run(3)
    packets[0] = packets[0][:-1] + b"x"
    joined = coalesce(packets)
    assert [len(segment(packet)) for packet in joined] == [1, 2]
    assert cut(joined) == packets


@pytest.mark.parametrize(
    "odd",
    [
        plain(100, b"b" * 100, identification=1, window=501),
        plain(100, b"b" * 100, identification=1, ack=8),
        plain(100, b"b" * 100, identification=1, options=tcp.Options(timestamps=(6, 6))),
        plain(100, b"b" * 100, identification=1, flags=tcp.ACK | tcp.ECE),
        plain(100, b"b" * 100, identification=1, flags=tcp.ACK | tcp.URG),
        plain(100, b"b" * 100, identification=1, flags=tcp.ACK | tcp.RST),
        plain(101, b"b" * 100, identification=1),
        plain(100, b"b" * 101, identification=1),
        plain(100, b"", identification=1),
    ],
    ids=["window", "ack", "timestamps", "ECE", "URG", "RST", "a gap", "a longer one", "a pure ACK"],
)
def test_what_differs_goes_on_as_it_came(odd):
    packets = [plain(0, b"a" * 100), odd]
    assert [b"".join(map(bytes, packet)) for packet in coalesce(packets)] == [
        virtio_net.PLAIN + each for each in packets
    ]


def test_packets_whose_sums_cost_more_than_a_write_go_on_as_they_came():
    size = LARGEST_JOINED - 52
    assert len(coalesce(run(3, size=size))) == 1
    assert len(coalesce(run(3, size=size + 1))) == 3


@pytest.mark.parametrize("flags", [tcp.PSH, tcp.FIN])
def test_psh_and_fin_end_a_super_segment(flags):
    packets = [plain(0, b"a" * 9), plain(9, b"b" * 9, identification=1, flags=tcp.ACK | flags), plain(18, b"c" * 9)]
    joined = coalesce(packets)
    assert len(joined) == 2
    assert cut(joined) == packets


@given(st.lists(st.one_of(st.binary(max_size=80), st.sampled_from(run(4, last=7))), max_size=8))
def test_whatever_comes_goes_on(packets):
    """Garbage among segments: every byte of every packet comes out again, if not where it was."""
    out = [each for packet in coalesce(packets) for each in _whole(packet)]
    assert sorted(out) == sorted(packets)


def _whole(packet) -> list[bytes]:
    return [b"".join(packet[1:])] if packet[0] == virtio_net.PLAIN else cut([packet])


@pytest.mark.parametrize("start", [0, 2**32 - 250])
@pytest.mark.parametrize("identification", [7, 65533])
def test_numbers_that_wrap_in_the_middle_of_a_run(start, identification):
    packets = [
        plain(start + number * 100, b"x" * 100, identification=(identification + number) & 0xFFFF)
        for number in range(8)
    ]
    (joined,) = coalesce(packets)
    assert cut([joined]) == packets


def test_a_sequence_number_that_wraps_does_not_reach_the_next_port():
    """The header of the second flow's segment is the first's as a number, plus what each segment adds to it."""
    packets = [plain(2**32 - 200 + number * 100, b"x" * 100, identification=number) for number in range(2)]
    stranger = bytearray(plain(0, b"x" * 100, identification=2))
    stranger[22:24] = (3).to_bytes(2, "big")  # the destination port is 2
    stranger[36:38] = bytes(2)
    stranger[36:38] = transport_checksum(SRC, DST, protocols.TCP, bytes(stranger[20:])).to_bytes(2, "big")
    joined = coalesce([*packets, bytes(stranger)])
    assert len(joined) == 2
    assert cut(joined) == [*packets, bytes(stranger)]


@pytest.mark.parametrize(("size", "last"), [(99, 0), (99, 34), (100, 33), (100, 100)])
def test_any_one_wrong_segment_of_a_run_goes_alone(size, last):
    """Of odd and of even length, at every place; the rest is joined, and nothing is lost."""
    right = run(7, size=size, last=last)
    for at in range(len(right)):
        packets = [*right[:at], right[at][:-1] + bytes([right[at][-1] ^ 0x10]), *right[at + 1 :]]
        joined = coalesce(packets)
        assert cut(joined) == packets
        assert (virtio_net.PLAIN, packets[at]) in [(front, bytes(rest[0])) for front, *rest in joined]
        assert len(joined) == 1 + (at > 0) + (at + 1 < len(packets))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([2**32 - 250, 0, 65536 - 50]),
            st.sampled_from([0, 65533]),
            st.sampled_from([100, 100, 100, 50]),
            st.sampled_from([80, 81]),
            st.sampled_from([tcp.ACK, tcp.ACK, tcp.ACK | tcp.PSH]),
        ),
        min_size=2,
        max_size=30,
    )
)
def test_the_quick_way_finds_what_taking_headers_apart_finds(kinds):
    sent: dict[tuple[int, int], int] = {}
    packets = []
    for start, identification, size, source, flags in kinds:
        number = sent.setdefault((start, source), 0)
        sent[start, source] += size
        packets.append(
            plain(start + number, b"p" * size, identification=identification + number // 100 & 0xFFFF, source=source,
                  flags=flags)
        )  # fmt: skip
    quick = [b"".join(packet) for packet in coalesce(packets)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tunflow.wire.coalesce.SegmentRun.follow", lambda self, packets, index: index)
        assert quick == [b"".join(packet) for packet in coalesce(packets)]
