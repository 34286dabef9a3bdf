"""UDP: which client a datagram belongs to, and the packets that carry the answers back.

Read first: RFC 768, RFC 4787 (what a UDP NAT owes its users), RFC 8085 §3.4 (checksums). The rules:

1. A mapping is one client socket (address and port) and nothing else, so mapping and filtering are
   endpoint-independent (RFC 4787 REQ-1, REQ-8: "full cone"): whoever answers, the answer reaches the client.
2. A mapping idle for `idle_timeout` expires. Datagrams of either direction keep it: outbound refresh is
   required (RFC 4787 REQ-6), inbound refresh is allowed (REQ-6a), and a client that only listens (video,
   telemetry) needs it. What an outsider could keep alive that way is bounded by rule 3.
3. At capacity the mapping idle for longest makes room. So the table is ordered by last use, which is also the
   order of expiry: one dictionary does both, and nothing here grows with the number of mappings.
4. Multicast and broadcast destinations are not mapped: no proxy protocol can carry them, and what a client
   shouts at its own link (mDNS, SSDP, LLMNR) must not leave it. Neither is port 0, which nobody can answer.

`receive` is the hot path: one struct unpacking, one dictionary lookup, no copy.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from tunflow.device import Packet
from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.wire import ipv4, ipv6, protocols, udp, virtio_net
from tunflow.wire.checksum import pseudo_sum, raw_sum

IDLE_TIMEOUT = 300.0
"""Seconds. RFC 4787 REQ-5: at least 2 minutes, and 5 minutes are recommended."""

CAPACITY = 1024
"""Mappings at most, because each one costs its relay a descriptor."""

MAX_BATCH = 64
"""Datagrams in one super-datagram: Linux has long had UDP_MAX_SEGMENTS at 1 << 6 (include/linux/udp.h), later
at 1 << 7."""

_HOP_LIMIT = 64
_VERSION_4 = 0x4500
"""Version 4, no options, type of service 0."""
_VERSION_6 = 6 << 28
_TTL_PROTOCOL = _HOP_LIMIT << 8 | protocols.UDP
_ipv4_udp = struct.Struct("!10sHHHHHH4s4sHHHH")
"""A virtio-net header, an IPv4 header and a UDP header at once."""
_ipv6_udp = struct.Struct("!10sIHBB16s16sHHHH")
"""A virtio-net header, an IPv6 header and a UDP header at once."""


class UDPMapping:
    """One client socket and what has passed for it."""

    __slots__ = (
        "_reply",
        "bytes_in",
        "bytes_out",
        "client",
        "datagrams_in",
        "datagrams_out",
        "last_activity",
        "user",
    )

    def __init__(self, client: Endpoint, now: float) -> None:
        self.client = client
        self.last_activity = now
        self.user: Any = None
        """The driver's own: the relay of this mapping."""
        self.datagrams_out = 0
        """Datagrams from the client."""
        self.bytes_out = 0
        self.datagrams_in = 0
        """Datagrams to the client."""
        self.bytes_in = 0
        self._reply: _ReplyHeader | None = None


class UDPTable:
    """The mappings, and datagrams both ways; see the module's rules. `idle_timeout` is in seconds."""

    def __init__(self, idle_timeout: float = IDLE_TIMEOUT, capacity: int = CAPACITY) -> None:
        self._idle_timeout = idle_timeout
        self._capacity = capacity
        self._mappings: OrderedDict[tuple[bytes | str, int], UDPMapping] = OrderedDict()  # longest idle first
        self.arrivals: list[tuple[UDPMapping, Endpoint, memoryview]] = []
        """Datagrams from clients, for the driver to take away: mapping, destination, payload."""
        self.expired: list[UDPMapping] = []
        """Mappings that ended by time or for lack of room, for the driver to take away and clean up after."""
        self.dropped = 0
        """Datagrams from the TUN that were malformed or that rule 4 keeps here."""

    def __len__(self) -> int:
        return len(self._mappings)

    def receive(
        self, src: bytes, dst: bytes, segment: memoryview, checksum_verified: bool, gso_size: int, now: float
    ) -> None:
        """Take in what followed the IP header of a UDP packet: a datagram, or several of `gso_size` bytes (0:
        one).

        Never raises: what is malformed is counted in `dropped`.
        """
        available = len(segment)
        if available < 8:
            self.dropped += 1
            return
        src_port, dst_port, length, checksum = udp.HEADER.unpack_from(segment)
        first = dst[0]
        # RFC 768: Length covers header and data. Less than the packet holds is padding; RFC 2675's 0 needs a
        # jumbogram.
        if (
            not 8 <= length <= available
            or not dst_port
            or (first >= 224 and (first == 255 or len(dst) == 4))
            or not (checksum_verified or _verified(src, dst, segment[:length], checksum))
        ):
            self.dropped += 1
            return
        key = (src, src_port)
        mapping = self._mappings.get(key)
        if mapping is None:
            mapping = self._map(src, src_port, now)
            if mapping is None:
                self.dropped += 1
                return
        else:
            self._mappings.move_to_end(key)
            mapping.last_activity = now
        mapping.bytes_out += length - 8
        destination = Endpoint(dst, dst_port)
        if not gso_size or length - 8 <= gso_size:
            mapping.datagrams_out += 1
            self.arrivals.append((mapping, destination, segment[8:length]))
            return
        for start in range(8, length, gso_size):
            mapping.datagrams_out += 1
            self.arrivals.append((mapping, destination, segment[start : min(start + gso_size, length)]))

    def datagram(self, mapping: UDPMapping, source: Endpoint, payload: Buffer, now: float) -> Packet:
        """The packet that brings the client a datagram from `source`; its checksum is left to the device.

        Raises BadPacket when `source` is a name or of the other address family, or `payload` too long for IP.
        """
        header = self._reply_header(mapping, source).build(len(payload), 0)
        self._replied(mapping, 1, len(payload), now)
        return [header, payload]

    def datagrams(self, mapping: UDPMapping, source: Endpoint, payloads: Sequence[Buffer], now: float) -> Packet:
        """Several datagrams from `source` in one packet, for devices that take USO (virtio-net GSO_UDP_L4).

        All payloads have the length of the first, but the last may be shorter; there are at most `MAX_BATCH`.
        Raises BadPacket like `datagram`, the length being that of all of them together.
        """
        size = sum(map(len, payloads))
        gso_size = len(payloads[0]) if len(payloads) > 1 else 0
        header = self._reply_header(mapping, source).build(size, gso_size)
        self._replied(mapping, len(payloads), size, now)
        return [header, *payloads]

    def close(self, mapping: UDPMapping) -> None:
        """Forget a mapping on the driver's behalf; it does not show up in `expired`. Twice does no harm."""
        if self._mappings.get(mapping.client) is mapping:
            del self._mappings[mapping.client]

    def next_timeout(self) -> float | None:
        """When the mapping idle for longest expires."""
        for mapping in self._mappings.values():
            return mapping.last_activity + self._idle_timeout
        return None

    def handle_timeout(self, now: float) -> None:
        """Expire what has been idle for the time-out."""
        while (due := self.next_timeout()) is not None and due <= now:
            self.expired.append(self._mappings.popitem(last=False)[1])

    def _map(self, src: bytes, port: int, now: float) -> UDPMapping | None:
        """A new mapping; None when the source is nobody's unicast address or port (RFC 1122 §4.1.3.6)."""
        first = src[0]
        if not port or first == 255 or (len(src) == 4 and (first >= 224 or first == 0)) or not any(src):
            return None
        if len(self._mappings) >= self._capacity:
            self.expired.append(self._mappings.popitem(last=False)[1])
        client = Endpoint(src, port)
        mapping = self._mappings[client] = UDPMapping(client, now)
        return mapping

    def _replied(self, mapping: UDPMapping, count: int, size: int, now: float) -> None:
        mapping.datagrams_in += count
        mapping.bytes_in += size
        if self._mappings.get(mapping.client) is mapping:  # not one that is expired or closed already
            mapping.last_activity = now
            self._mappings.move_to_end(mapping.client)

    def _reply_header(self, mapping: UDPMapping, source: Endpoint) -> _ReplyHeader:
        reply = mapping._reply
        if reply is None or reply.source != source:
            reply = mapping._reply = _ReplyHeader(source, mapping.client)
        return reply


class _ReplyHeader:
    """All that stands before a payload from one source to one client, its constant sums added up once."""

    __slots__ = ("_client", "_header_sum", "_host", "_port", "_pseudo_sum", "_vnet", "source")

    def __init__(self, source: Endpoint, client: Endpoint) -> None:
        if isinstance(source.host, str) or len(source.host) != len(client.host):
            raise BadPacket(f"datagram from {source}, which cannot reach {client}")
        assert isinstance(client.host, bytes)
        self.source = source
        self._client = client.host
        self._port = client.port
        self._host = source.host
        self._pseudo_sum = pseudo_sum(source.host, client.host, protocols.UDP, 0)
        self._header_sum = 0
        if len(source.host) == 4:
            self._header_sum = _VERSION_4 + ipv4.DONT_FRAGMENT + _TTL_PROTOCOL
            self._header_sum += raw_sum(source.host) + raw_sum(client.host)
        self._vnet = self._vnet_header(0)

    def build(self, size: int, gso_size: int) -> bytes:
        """The headers of `size` bytes of payload, to be cut every `gso_size` bytes (0: not at all)."""
        length = udp.HEADER_SIZE + size
        vnet = self._vnet_header(gso_size) if gso_size else self._vnet
        partial = (self._pseudo_sum + length) % 65535
        client = self._client
        if len(self._host) == 16:
            if length > ipv6.MAX_PAYLOAD:
                raise BadPacket(f"UDP payload of {size} bytes does not fit an IPv6 packet")
            return _ipv6_udp.pack(
                vnet, _VERSION_6, length, protocols.UDP, _HOP_LIMIT, self._host, client,
                self.source.port, self._port, length, partial,
            )  # fmt: skip
        total = ipv4.HEADER_SIZE + length
        if total > ipv4.MAX_PACKET:
            raise BadPacket(f"UDP payload of {size} bytes does not fit an IPv4 packet")
        # RFC 6864 §4.1: in an atomic packet (DF set) the identification means nothing.
        header_sum = 0xFFFF ^ (self._header_sum + total) % 65535
        return _ipv4_udp.pack(
            vnet, _VERSION_4, total, 0, ipv4.DONT_FRAGMENT, _TTL_PROTOCOL, header_sum, self._host, client,
            self.source.port, self._port, length, partial,
        )  # fmt: skip

    def _vnet_header(self, gso_size: int) -> bytes:
        ip_size = ipv4.HEADER_SIZE if len(self._host) == 4 else ipv6.HEADER_SIZE
        kind = virtio_net.GSO_UDP_L4 if gso_size else virtio_net.GSO_NONE
        return virtio_net.HEADER.pack(
            virtio_net.NEEDS_CSUM, kind, ip_size + udp.HEADER_SIZE, gso_size, ip_size, udp.CHECKSUM_OFFSET
        )


def _verified(src: bytes, dst: bytes, datagram: memoryview, checksum: int) -> bool:
    """Whether the checksum is right, or rightly absent."""
    if not checksum:  # RFC 768: the sender made none; RFC 8200 §8.1: which it must not do in IPv6
        return len(src) == 4
    total = pseudo_sum(src, dst, protocols.UDP, len(datagram)) + raw_sum(datagram)
    return total % 65535 == 0
