"""The virtio-net header."""

from __future__ import annotations

import pytest

from tunflow.errors import BadPacket
from tunflow.wire import virtio_net
from tunflow.wire.virtio_net import VnetHeader


def test_layout_is_ten_little_endian_bytes() -> None:
    # virtio 1.2 §5.1.6: le16 fields without padding
    header = virtio_net.parse_untrusted(bytes([1, 0x81, 0x36, 0, 0xB4, 5, 20, 0, 16, 0]) + b"packet")
    assert header == VnetHeader(1, 0x81, 54, 1460, 20, 16)
    assert header.needs_checksum
    assert header.segmentation == virtio_net.GSO_TCPV4
    assert virtio_net.HEADER.pack(*header) == bytes([1, 0x81, 0x36, 0, 0xB4, 5, 20, 0, 16, 0])


def test_plain_header_needs_nothing() -> None:
    header = virtio_net.parse_untrusted(virtio_net.PLAIN)
    assert header == VnetHeader(0, 0, 0, 0, 0, 0)
    assert not header.needs_checksum


@pytest.mark.parametrize(
    "header",
    [
        b"",
        bytes(9),
        virtio_net.HEADER.pack(0, 2, 0, 1460, 0, 0),
        virtio_net.HEADER.pack(0, virtio_net.GSO_TCPV4, 0, 0, 0, 0),
        virtio_net.HEADER.pack(0, virtio_net.GSO_UDP_L4 | virtio_net.GSO_ECN, 0, 1000, 0, 0),
        virtio_net.HEADER.pack(0, virtio_net.GSO_ECN, 0, 0, 0, 0),
    ],
    ids=["empty", "short", "unknown type", "no size", "udp with ecn", "nothing with ecn"],
)
def test_illegal_virtio_net_headers(header: bytes) -> None:
    with pytest.raises(BadPacket):
        virtio_net.parse_untrusted(header)
