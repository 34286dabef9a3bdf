"""Any bytes as IP packets, singly and in batches behind a virtio-net header: what opens lies in its packet.

The input is a list of packets, each with its length in two bytes. Every packet comes twice, so that what the first made
known is met by the second on the short way.
"""

from __future__ import annotations

from tunflow.errors import BadPacket
from tunflow.stack.ip_input import IPInput
from tunflow.stack.stack import Stack
from tunflow.wire import icmp, ipv4, ipv6, offload, protocols, udp, virtio_net

_A4, _B4 = bytes([10, 0, 0, 1]), bytes([192, 0, 2, 1])
_A6, _B6 = bytes.fromhex("fd00") + bytes(13) + b"\x01", bytes.fromhex("20010db8") + bytes(11) + b"\x01"
_OWN = frozenset((bytes([10, 0, 0, 2]), bytes.fromhex("fd00") + bytes(13) + b"\x02"))


def _input(*packets: bytes) -> bytes:
    return b"".join(len(packet).to_bytes(2, "big") + packet for packet in packets)


def _vnet(plain: bytes, gso_size: int = 0) -> bytes:
    kind = virtio_net.GSO_UDP_L4 if gso_size else virtio_net.GSO_NONE
    return virtio_net.HEADER.pack(virtio_net.DATA_VALID, kind, 0, gso_size, 0, 0) + plain


_UDP = udp.build(5000, 53, 100) + bytes(100)
_ERROR = icmp.build_v4(icmp.Unreachable(3, ipv4.build(_B4, _A4, 17, 16) + udp.build(53, 5000, 8) + bytes(8)))

SEEDS: list[bytes] = [
    _input(_vnet(ipv4.build(_A4, _B4, protocols.UDP, len(_UDP)) + _UDP)),
    _input(_vnet(ipv4.build(_A4, _B4, protocols.UDP, len(_UDP), ttl=1) + _UDP)),
    _input(_vnet(ipv6.build(_A6, _B6, protocols.UDP, len(_UDP)) + _UDP, 30)),
    _input(_vnet(ipv4.build(_A4, _B4, protocols.ICMP, len(_ERROR)) + _ERROR)),
    _input(
        _vnet(ipv6.build(_A6, _B6, protocols.FRAGMENT, 112) + bytes([17, 0, 0, 1, 0, 0, 0, 7]) + _UDP[:104]),
        _vnet(ipv6.build(_A6, _B6, protocols.FRAGMENT, 12) + bytes([17, 0, 0, 104, 0, 0, 0, 7]) + _UDP[104:]),
    ),
]


def one_input(data: bytes) -> None:
    """Open each packet by itself; then let a stack take them all, and look at what it answers."""
    packets = []
    at = 0
    while at + 2 <= len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        packets.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    ip_input = IPInput(1 << 20)
    for packet in packets:
        _open(ip_input, packet, 0)
        _open(ip_input, packet, 10)
    stack = Stack(1500, b"fuzz", _OWN)
    for packet in packets:
        stack.receive([packet, packet], 0, 1.0)
        if len(packet) > 10:
            stack.receive([packet, packet], 10, 1.0)
        for run in stack.udp.take_arrivals():
            assert run.payloads
            assert not run.gso_size or all(0 < len(one) <= run.gso_size for one in run.datagrams())
    for answer in stack.outgoing:
        for plain in offload.segment(answer):
            assert 20 <= sum(map(len, plain)) <= 1500


def _open(ip_input: IPInput, packet: bytes, offset: int) -> None:
    try:
        arrival = ip_input.open_untrusted(packet, offset, 1.0)
    except BadPacket:
        return
    if arrival is not None:
        assert arrival.offset + 20 <= arrival.at <= arrival.end <= len(arrival.packet)
