"""Fragments of any shape: a packet, nothing or BadPacket, within bounded memory, and no fragment left in it.

The input is a list of packets: two bytes of length before each.
"""

from __future__ import annotations

from tunflow.errors import BadPacket
from tunflow.stack.reassembly import Reassembler
from tunflow.wire import ipv4, ipv6, protocols

_CAPACITY = 4096


def _join(*packets: bytes) -> bytes:
    return b"".join(len(packet).to_bytes(2, "big") + packet for packet in packets)


def _fragment_v4(data: bytes, offset: int, more: bool) -> bytes:
    header = bytearray(ipv4.build(bytes([10, 0, 0, 1]), bytes([192, 0, 2, 1]), protocols.UDP, len(data)))
    header[6:8] = (ipv4.MORE_FRAGMENTS * more | offset // 8).to_bytes(2, "big")
    return bytes(header) + data


def _fragment_v6(data: bytes, offset: int, more: bool) -> bytes:
    rest = ipv6.FRAGMENT_HEADER.pack(protocols.UDP, 0, offset | more, 7) + data
    return ipv6.build(bytes(15) + b"\1", bytes(15) + b"\2", protocols.FRAGMENT, len(rest)) + rest


SEEDS = [
    _join(_fragment_v4(bytes(16), 0, True), _fragment_v4(b"end", 16, False)),
    _join(_fragment_v4(b"end", 16, False), _fragment_v4(bytes(16), 0, True), _fragment_v4(bytes(16), 8, True)),
    _join(_fragment_v6(bytes(16), 0, True), _fragment_v6(b"end", 16, False)),
    _join(_fragment_v6(bytes(16), 0, True), _fragment_v6(b"atomic", 0, False)),
]


def one_input(data: bytes) -> None:
    """Feed the packets, a second apart."""
    reassembler = Reassembler(capacity=_CAPACITY)
    now, at = 0.0, 0
    while at + 2 <= len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        packet = memoryview(data)[at + 2 : at + 2 + size]
        at += 2 + size
        now += 1.0
        reassembler.handle_timeout(now)
        try:
            whole = _add(reassembler, packet, now)
        except BadPacket:
            continue
        assert reassembler.held <= _CAPACITY
        if whole is not None:
            _check(whole)
    reassembler.handle_timeout(now + 1000)
    assert reassembler.held == len(reassembler) == 0


def _add(reassembler: Reassembler, packet: memoryview, now: float) -> bytes | None:
    if packet and packet[0] >> 4 == 4:
        # Mutation breaks the header's checksum nearly always, so it is made right again.
        fixed = bytearray(packet)
        size = (packet[0] & 15) * 4
        fixed[10:12] = bytes(min(2, max(0, len(fixed) - 10)))
        if 20 <= size <= len(fixed):
            total = sum(int.from_bytes(fixed[i : i + 2], "big") for i in range(0, size, 2)) % 65535
            fixed[10:12] = (0xFFFF ^ total).to_bytes(2, "big")
        view = memoryview(fixed)
        return reassembler.add_ipv4_untrusted(view, ipv4.parse_untrusted(view), now)
    fragment = ipv6.walk_extensions_untrusted(packet).fragment
    return reassembler.add_ipv6_untrusted(packet, fragment, now) if fragment is not None else None


def _check(whole: bytes) -> None:
    if whole[0] >> 4 == 4:
        header = ipv4.parse_untrusted(whole)
        assert header.total_length == len(whole)
        assert not header.is_fragment
        return
    assert ipv6.parse_untrusted(whole).total_length == len(whole)
