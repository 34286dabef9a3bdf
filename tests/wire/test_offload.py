"""Software segmentation against a naive twin that builds each segment from nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.wire import ipv4, ipv6, protocols, tcp, udp, virtio_net
from tunflow.wire.checksum import pseudo_sum, transport_checksum
from tunflow.wire.offload import segment

V4 = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
V6 = bytes.fromhex("20010db8" + "00" * 11 + "01"), bytes.fromhex("20010db8" + "00" * 11 + "02")
OPTIONS = tcp.Options(timestamps=(5, 6))
ALL_FLAGS = tcp.FIN | tcp.PSH | tcp.ACK | tcp.CWR


def vnet(kind: int, size: int, start: int, offset: int, headers: int) -> bytes:
    return virtio_net.HEADER.pack(virtio_net.NEEDS_CSUM, kind, headers, size, start, offset)


def ip_header(version: int, protocol: int, length: int, identification: int) -> bytes:
    if version == 4:
        return ipv4.build(*V4, protocol, length, identification=identification)
    return ipv6.build(*V6, protocol, length)


def addresses(version: int) -> tuple[bytes, bytes]:
    return V4 if version == 4 else V6


def tcp_super(version: int, sequence: int, flags: int, payload: list[Buffer], size: int) -> list[Buffer]:
    """A TCP super-segment as a stack makes it: only the pseudo-header is in the checksum field."""
    total = sum(map(len, payload))
    partial = pseudo_sum(*addresses(version), protocols.TCP, 32 + total)
    header = tcp.build(1, 2, sequence, 7, flags, 500, options=OPTIONS, checksum=partial)
    ip = ip_header(version, protocols.TCP, 32 + total, 65535)
    kind = virtio_net.GSO_TCPV4 if version == 4 else virtio_net.GSO_TCPV6
    return [vnet(kind, size, len(ip), 16, len(ip) + 32), ip + header, *payload]


def tcp_plain(version: int, number: int, sequence: int, flags: int, payload: bytes) -> bytes:
    """The naive twin: one whole segment."""

    def with_checksum(value: int) -> bytes:
        return tcp.build(1, 2, sequence, 7, flags, 500, options=OPTIONS, checksum=value) + payload

    value = transport_checksum(*addresses(version), protocols.TCP, with_checksum(0)) or 0xFFFF
    body = with_checksum(value)
    return ip_header(version, protocols.TCP, len(body), (65535 + number) & 0xFFFF) + body


def naive_tcp(version: int, sequence: int, flags: int, payload: bytes, size: int) -> list[bytes]:
    starts = range(0, len(payload), size) or [0]
    result = []
    for number, start in enumerate(starts):
        its_flags = flags
        if start + size < len(payload):
            its_flags &= ~(tcp.FIN | tcp.PSH)
        if number:
            its_flags &= ~tcp.CWR
        its_sequence = (sequence + start) % 2**32
        result.append(tcp_plain(version, number, its_sequence, its_flags, payload[start : start + size]))
    return result


def joined(packets: list[list[Buffer]]) -> list[bytes]:
    return [b"".join(packet) for packet in packets]


PIECES = st.lists(st.binary(max_size=70), max_size=6)


@given(
    st.sampled_from([4, 6]),
    st.integers(2**32 - 200, 2**32 - 1),
    st.integers(0, 255),
    PIECES,
    st.integers(1, 40),
)
def test_tcp_is_cut_like_the_twin(version: int, sequence: int, flags: int, pieces: list[bytes], size: int) -> None:
    packet = tcp_super(version, sequence, flags, list(pieces), size)
    assert joined(segment(packet)) == naive_tcp(version, sequence, flags, b"".join(pieces), size)


@given(st.sampled_from([4, 6]), PIECES, st.integers(0, 30), st.integers(1, 40))
def test_payload_may_begin_in_the_header_piece(version: int, pieces: list[bytes], moved: int, size: int) -> None:
    first, head, *rest = tcp_super(version, 1, ALL_FLAGS, list(pieces), size)
    body = b"".join(rest)
    assert joined(segment([first, bytes(head) + body[:moved], body[moved:]])) == joined(segment([first, head, body]))


@given(st.sampled_from([4, 6]), PIECES, st.integers(1, 40))
def test_udp_is_cut_into_datagrams(version: int, pieces: list[bytes], size: int) -> None:
    payload = b"".join(pieces)
    src, dst = addresses(version)
    partial = pseudo_sum(src, dst, protocols.UDP, 8 + len(payload))
    ip = ip_header(version, protocols.UDP, 8 + len(payload), 3)
    head = ip + udp.build(5, 6, len(payload), checksum=partial)
    packets = joined(segment([vnet(virtio_net.GSO_UDP_L4, size, len(ip), 6, len(head)), head, *pieces]))
    expected = []
    for number, start in enumerate(range(0, len(payload), size) or [0]):
        part = payload[start : start + size]
        value = transport_checksum(src, dst, protocols.UDP, udp.build(5, 6, len(part)) + part) or 0xFFFF
        datagram = udp.build(5, 6, len(part), checksum=value) + part
        expected.append(ip_header(version, protocols.UDP, len(datagram), 3 + number) + datagram)
    assert packets == expected


@given(st.sampled_from([4, 6]), PIECES, st.integers(0, 30))
def test_a_missing_checksum_is_made(version: int, pieces: list[bytes], moved: int) -> None:
    _, head, *rest = tcp_super(version, 9, ALL_FLAGS, list(pieces), 1)
    payload = b"".join(rest)
    header = vnet(virtio_net.GSO_NONE, 0, len(head) - 32, 16, 0)
    (packet,) = joined(segment([header, bytes(head) + payload[:moved], payload[moved:]]))
    assert packet == tcp_plain(version, 0, 9, ALL_FLAGS, payload)


def test_a_udp_checksum_of_zero_is_sent_as_ones() -> None:
    # the payload is the complement of everything else, so the sum is 0xffff and its inverse zero
    partial = pseudo_sum(*V4, protocols.UDP, 10)
    head = ip_header(4, protocols.UDP, 10, 0) + udp.build(0, 0, 2, checksum=partial)
    payload = (0xFFFF - (partial + 10)).to_bytes(2, "big")
    (packet,) = joined(segment([vnet(virtio_net.GSO_NONE, 0, 20, 6, 0), head, payload]))
    assert packet[26:28] == b"\xff\xff"
    (packet,) = joined(segment([vnet(virtio_net.GSO_UDP_L4, 2, 20, 6, 28), head, payload]))
    assert packet[26:28] == b"\xff\xff"


def test_what_needs_nothing_is_left_alone() -> None:
    pieces: list[Buffer] = [b"header", memoryview(b"payload")]
    (packet,) = segment([virtio_net.PLAIN, *pieces])
    assert packet[0] is pieces[0]
    assert packet[1] is pieces[1]
    valid = virtio_net.HEADER.pack(virtio_net.DATA_VALID, 0, 0, 0, 0, 0)
    assert joined(segment([valid, *pieces])) == [b"headerpayload"]


def test_payload_is_not_copied() -> None:
    payload = bytearray(100)
    packets = segment(tcp_super(4, 0, tcp.ACK, [payload], 30))
    assert [len(packet[1]) for packet in packets] == [30, 30, 30, 10]
    payload[95] = 7
    assert packets[3][1][5] == 7


def test_the_input_is_not_written_to() -> None:
    packet = tcp_super(4, 0, ALL_FLAGS, [bytes(100)], 30)
    packet[1] = bytearray(packet[1])
    before = bytes(packet[1])
    segment(packet)
    segment([vnet(0, 0, 20, 16, 0), *packet[1:]])
    assert packet[1] == before


def test_ipv6_extension_headers_stay_in_front() -> None:
    options = bytes([protocols.TCP, 0, 1, 4, 0, 0, 0, 0])
    body = options + tcp.build(1, 2, 0, 0, tcp.ACK)
    head = ipv6.build(*V6, protocols.DESTINATION_OPTIONS, len(body) + 50) + body
    packets = joined(segment([vnet(virtio_net.GSO_TCPV6, 30, 48, 16, 68), head, bytes(50)]))
    assert [len(packet) for packet in packets] == [98, 88]
    for packet in packets:
        assert ipv6.walk_extensions_untrusted(packet).next_header == protocols.TCP
        assert transport_checksum(*V6, protocols.TCP, packet[48:]) == 0


HEAD_V4 = ip_header(4, protocols.TCP, 20, 0) + tcp.build(1, 2, 3, 4, tcp.ACK)
HEAD_V6 = ip_header(6, protocols.TCP, 20, 0) + tcp.build(1, 2, 3, 4, tcp.ACK)
TCPV4 = vnet(virtio_net.GSO_TCPV4, 100, 20, 16, 40)
TCPV6 = vnet(virtio_net.GSO_TCPV6, 100, 40, 16, 60)


def test_the_largest_segments() -> None:
    for version, most in ((4, 65535 - 52), (6, 65535 - 32)):
        (packet,) = segment(tcp_super(version, 0, tcp.ACK, [bytes(most)], 65535))
        assert sum(map(len, packet)) == most + (52 if version == 4 else 72)


@pytest.mark.parametrize(
    "packet",
    [
        [TCPV4[:9], HEAD_V4],
        [TCPV4],
        [TCPV4, b""],
        [TCPV4, HEAD_V6],
        [TCPV6, HEAD_V4],
        [TCPV4, HEAD_V4[:19]],
        [TCPV4, HEAD_V4[:39]],
        [TCPV4, HEAD_V4[:32] + b"\x60" + HEAD_V4[33:]],
        [TCPV4, HEAD_V4[:32] + b"\x40" + HEAD_V4[33:]],
        [TCPV4, b"\x44" + HEAD_V4[1:]],
        [TCPV4, HEAD_V4[:9] + b"\x11" + HEAD_V4[10:]],
        [TCPV6, HEAD_V6[:39]],
        [TCPV6, HEAD_V6[:6] + b"\x11" + HEAD_V6[7:]],
        [vnet(virtio_net.GSO_TCPV6, 100, 20, 16, 60), HEAD_V6],
        [vnet(virtio_net.GSO_TCPV6, 100, 60000, 16, 60), HEAD_V6],
        [vnet(virtio_net.GSO_UDP, 100, 20, 6, 28), HEAD_V4],
        [vnet(virtio_net.GSO_TCPV4, 65535, 20, 16, 40), HEAD_V4, bytes(65496)],
        [vnet(virtio_net.GSO_TCPV6, 65535, 40, 16, 60), HEAD_V6, bytes(65516)],
        [vnet(virtio_net.GSO_NONE, 0, 20, 19, 0), HEAD_V4],
        [vnet(virtio_net.GSO_NONE, 0, 65535, 65535, 0), HEAD_V4],
    ],
)
def test_headers_that_do_not_fit_the_packet(packet: list[bytes]) -> None:
    with pytest.raises(BadPacket):
        segment(packet)


@pytest.mark.parametrize("version", [4, 6])
def test_the_headers_may_be_one_piece_with_the_virtio_header(version: int) -> None:
    packet = tcp_super(version, 1, ALL_FLAGS, [bytes(3000)], 1000)
    joined_headers = [bytes(packet[0]) + bytes(packet[1]), *packet[2:]]
    assert joined(segment(joined_headers)) == joined(segment(packet))
    assert len(segment(joined_headers)) == 3
