"""What a connection puts in front of its payload: virtio-net, IP and TCP headers from one template.

Everything that does not change over a connection's life is packed once, and its part of both checksums summed once;
a segment then costs one `pack`. The TCP checksum is left to the device (virtio-net NEEDS_CSUM): its field holds the
sum over the pseudo-header (RFC 9293 §3.1), as Linux wants it.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from tunflow.wire import virtio_net
from tunflow.wire.checksum import raw_sum
from tunflow.wire.protocols import TCP

_IPV4_TCP = struct.Struct("!HHIHH8sHHIIBBHHH")
_IPV6_TCP = struct.Struct("!IHBB32sHHIIBBHHH")

_IPV4_SIZE = 20
_IPV6_SIZE = 40
_TCP_SIZE = 20
_CHECKSUM_AT = 16
"""Offset of the checksum within the TCP header."""

_VERSION_4 = 0x4500
_DONT_FRAGMENT = 0x4000
"""Identification 0 with DF set: an atomic datagram needs no identification (RFC 6864 §4.1)."""

_VERSION_6 = 0x60000000
HOP_LIMIT = 64


@lru_cache(64)
def _vnet_headers(is_ipv4: bool, option_size: int, mss: int) -> tuple[bytes, bytes]:
    """The virtio-net headers of a segment and of a super-segment; the same for nearly all connections."""
    ip_size = _IPV4_SIZE if is_ipv4 else _IPV6_SIZE
    kind = virtio_net.GSO_TCPV4 if is_ipv4 else virtio_net.GSO_TCPV6
    size = ip_size + _TCP_SIZE + option_size
    whole = virtio_net.HEADER.pack(virtio_net.NEEDS_CSUM, virtio_net.GSO_NONE, 0, 0, ip_size, _CHECKSUM_AT)
    return whole, virtio_net.HEADER.pack(virtio_net.NEEDS_CSUM, kind, size, mss, ip_size, _CHECKSUM_AT)


class HeaderTemplate:
    """Builds headers from the far endpoint of a flow to the client.

    `source` and `destination` are packed addresses of one family, `mss` the client's maximum segment size in bytes.
    """

    __slots__ = (
        "_addresses",
        "_cut",
        "_destination_port",
        "_ip_sum",
        "_is_ipv4",
        "_pseudo_sum",
        "_source_port",
        "_whole",
        "mss",
        "size",
    )

    def __init__(self, source: bytes, source_port: int, destination: bytes, destination_port: int, mss: int) -> None:
        self._is_ipv4 = len(source) == 4
        self._addresses = source + destination
        self._source_port = source_port
        self._destination_port = destination_port
        addresses = raw_sum(self._addresses)
        self._pseudo_sum = addresses + TCP
        self._ip_sum = _VERSION_4 + _DONT_FRAGMENT + (HOP_LIMIT << 8 | TCP) + addresses
        ip_size = _IPV4_SIZE if self._is_ipv4 else _IPV6_SIZE
        self.size = ip_size + _TCP_SIZE
        """IP and TCP header without options, in bytes."""
        self.mss = mss
        self._whole, self._cut = _vnet_headers(self._is_ipv4, 0, mss)

    def set_mss(self, mss: int, option_size: int = 0) -> None:
        """Cut super-segments at `mss` bytes of payload from now on; each has options of `option_size` bytes."""
        self.mss = mss
        self._whole, self._cut = _vnet_headers(self._is_ipv4, option_size, mss)

    def build(
        self, seq: int, ack: int, flags: int, window: int, payload_size: int, options: bytes = b""
    ) -> tuple[bytes, bytes]:
        """virtio-net header, and IP and TCP headers: of one segment, or of one super-segment above the MSS.

        `seq` and `ack` may be unwrapped; `window` is the value of the field, scaled already.
        """
        tcp_size = _TCP_SIZE + len(options)
        length = tcp_size + payload_size
        checksum = self._pseudo_sum + length
        checksum = (checksum & 0xFFFF) + (checksum >> 16)
        vnet = self._cut if payload_size > self.mss else self._whole
        if self._is_ipv4:
            total = length + _IPV4_SIZE
            ip_checksum = 0xFFFF ^ ((self._ip_sum + total) % 65535 or 65535)  # `checksum.fold` in place
            header = _IPV4_TCP.pack(
                _VERSION_4, total, _DONT_FRAGMENT, HOP_LIMIT << 8 | TCP, ip_checksum,
                self._addresses, self._source_port, self._destination_port, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF,
                tcp_size << 2, flags, window, (checksum & 0xFFFF) + (checksum >> 16), 0,
            )  # fmt: skip
        else:
            header = _IPV6_TCP.pack(
                _VERSION_6, length, TCP, HOP_LIMIT,
                self._addresses, self._source_port, self._destination_port, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF,
                tcp_size << 2, flags, window, (checksum & 0xFFFF) + (checksum >> 16), 0,
            )  # fmt: skip
        return vnet, header + options if options else header
