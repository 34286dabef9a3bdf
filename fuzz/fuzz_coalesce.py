"""Any bytes as packets to be joined: no exception, and what is joined can be cut again."""

from __future__ import annotations

from tunflow.protocols.shadowvpn.seal import MAX_MTU
from tunflow.wire import ipv4, protocols, tcp
from tunflow.wire.checksum import transport_checksum
from tunflow.wire.coalesce import coalesce
from tunflow.wire.offload import segment


def _segment(sequence: int, payload: bytes) -> bytes:
    src, dst = bytes([10, 7, 0, 1]), bytes([10, 7, 0, 2])
    value = transport_checksum(src, dst, protocols.TCP, tcp.build(80, 2, sequence, 7, tcp.ACK, 500) + payload)
    body = tcp.build(80, 2, sequence, 7, tcp.ACK, 500, checksum=value) + payload
    return ipv4.build(src, dst, protocols.TCP, len(body)) + body


SEEDS = [_segment(0, b"a"), _segment(1, b"b")]
assert len(coalesce(SEEDS)) == 1


def one_input(data: bytes) -> None:
    """Alone, in halves, and twice behind a good one."""
    data = data[:MAX_MTU]
    half = len(data) // 2
    for packets in ([data], [data[:half], data[half:]], [SEEDS[0], data, data]):
        joined = coalesce(packets)
        assert len(joined) <= len(packets)
        assert sum(len(segment(packet)) for packet in joined) == len(packets)
