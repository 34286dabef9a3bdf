"""The virtio-net header that an offloading TUN puts in front of every packet.

It says what is left to do to the packet: fill in a checksum, cut a super-segment. Ten bytes, little-endian
(the device is told so with TUNSETVNETLE).

Read first: virtio 1.2 §5.1.6 (Device Operation), Linux include/uapi/linux/virtio_net.h.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from tunflow.device import VNET_SIZE
from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket

HEADER = struct.Struct("<BBHHHH")
"""flags, gso_type, hdr_len, gso_size, csum_start, csum_offset (`struct virtio_net_hdr`)."""

NEEDS_CSUM = 1
"""The field at csum_start + csum_offset holds the pseudo-header's sum; the checksum is to be made."""
DATA_VALID = 2
"""The checksums were verified."""

GSO_NONE = 0
GSO_TCPV4 = 1
GSO_UDP = 3
"""UDP fragmentation offload: tunflow never asks for it and refuses it."""
GSO_TCPV6 = 4
GSO_UDP_L4 = 5
"""Cut into several UDP datagrams (Linux 6.2)."""
GSO_ECN = 0x80
"""A flag beside the TCP types: the first segment has CWR set."""

PLAIN = bytes(VNET_SIZE)
"""The header of a packet that needs nothing."""

_GSO_TYPES = frozenset((GSO_NONE, GSO_TCPV4, GSO_UDP, GSO_TCPV6, GSO_UDP_L4))


class VnetHeader(NamedTuple):
    """What is left to do to a packet. Offsets count from the start of the IP header."""

    flags: int
    gso_type: int
    """One of the GSO types, with or without GSO_ECN."""
    hdr_len: int
    """Bytes of IP and transport header together: a hint (virtio 1.2 §5.1.6.2), so never relied on."""
    gso_size: int
    """Payload bytes of each segment but the last; 0 when there is nothing to cut."""
    csum_start: int
    csum_offset: int

    @property
    def needs_checksum(self) -> bool:
        """True if the checksum is still to be made."""
        return bool(self.flags & NEEDS_CSUM)

    @property
    def segmentation(self) -> int:
        """The GSO type without its ECN flag."""
        return self.gso_type & ~GSO_ECN


def parse_untrusted(packet: Buffer) -> VnetHeader:
    """The header at the front of `packet`. Raises BadPacket."""
    if len(packet) < VNET_SIZE:
        raise BadPacket(f"virtio-net header of {len(packet)} bytes, expected {VNET_SIZE}")
    header = VnetHeader(*HEADER.unpack_from(packet))
    kind = header.segmentation
    if kind not in _GSO_TYPES:
        raise BadPacket(f"virtio-net GSO type {kind} is unknown")
    if header.gso_type & GSO_ECN and kind not in (GSO_TCPV4, GSO_TCPV6):
        raise BadPacket(f"virtio-net GSO type {kind} cannot have the ECN flag")
    if kind != GSO_NONE and not header.gso_size:
        raise BadPacket("virtio-net GSO size is zero")
    return header
