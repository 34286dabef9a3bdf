"""virtio-net headers and software segmentation: plain packets that hold all of the payload, or BadPacket."""

from __future__ import annotations

from tunflow.device import VNET_SIZE
from tunflow.errors import BadPacket
from tunflow.wire import ipv4, tcp, virtio_net
from tunflow.wire.offload import segment

_V4 = ipv4.build(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), 6, 20 + 64)

SEEDS: list[bytes] = [
    virtio_net.PLAIN + _V4 + tcp.build(1, 2, 3, 4, tcp.ACK) + bytes(64),
    virtio_net.HEADER.pack(1, 0, 0, 0, 20, 16) + _V4 + tcp.build(1, 2, 3, 4, tcp.ACK) + bytes(64),
    virtio_net.HEADER.pack(1, virtio_net.GSO_TCPV4, 40, 30, 20, 16) + _V4 + tcp.build(1, 2, 3, 4, 25) + bytes(64),
]


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    packet, body = data[:VNET_SIZE], memoryview(data)[VNET_SIZE:]
    try:
        virtio_net.parse_untrusted(packet)
        plain = segment([packet, body])
    except BadPacket:
        return
    assert plain
    assert sum(len(piece) for pieces in plain for piece in pieces) >= len(body)
