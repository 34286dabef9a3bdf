"""UDP: which client a datagram belongs to, and the packets that carry the answers back.

Read first: RFC 768, RFC 4787 (what a UDP NAT owes its users), RFC 8085 §3.4 (checksums). The rules:

1. A mapping is one client socket (address and port) and nothing else, so mapping and filtering are
   endpoint-independent (RFC 4787 REQ-1, REQ-8: "full cone"): whoever answers, the answer reaches the client.
2. A mapping idle for `idle_timeout` expires. Datagrams of either direction keep it: outbound refresh is
   required (RFC 4787 REQ-6), inbound refresh is allowed (REQ-6a), and a client that only listens (video,
   telemetry) needs it. What an outsider could keep alive that way is bounded by rule 3.
3. At capacity the mapping idle for longest makes room. So the table is ordered by last use, which is also the
   order of expiry: one dictionary does both, and nothing here grows with the number of mappings.
4. Port 0, which nobody can answer, is not mapped. Groups, broadcast and other martians never come here
   (`stack.martians`).
5. A client that says "port unreachable" about a datagram from the only endpoint it has spoken to has closed its
   socket, and its mapping ends. About anybody else's it proves nothing: whoever knows the outer port can send there
   (rule 1), and a connected socket of the client's refuses strangers without being closed.

Datagrams move in runs: what one batch brought from one client socket for one destination. A flow remembers both
ends, found by one slice of the packet; it is a cache entry and may be forgotten at any time.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Protocol

from tunflow.device import Packet
from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.wire import ipv4, ipv6, protocols, udp, virtio_net
from tunflow.wire.checksum import pseudo_sum, raw_sum

IDLE_TIMEOUT = 300.0
"""Seconds. RFC 4787 REQ-5: at least 2 minutes, and 5 minutes are recommended."""

CAPACITY = 1024
"""Mappings at most, because each one costs its relay a descriptor."""

FLOW_CAPACITY = 4096
"""Flows remembered at most. A client that speaks to more peers at once only has the oldest looked up anew."""

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


class DatagramOwner(Protocol):
    """Who holds a UDP flow, or all of a client's UDP socket."""

    def send(self, run: UDPRun) -> None:
        """The client sent datagrams."""

    def close(self) -> None:
        """The client's socket has been silent for too long, or is gone."""


class DatagramFilter(DatagramOwner, Protocol):
    """Who stands before the owner of a UDP flow, and hands on what may pass."""

    @property
    def behind(self) -> DatagramOwner | None:
        """Who gets what passes; None for nobody yet."""

    def give_to(self, owner: DatagramOwner | None) -> None:
        """Have `owner` get what passes from now on."""


class SocketOwner(Protocol):
    """Who serves a client socket as a whole."""

    def close(self) -> None:
        """The client's socket has been silent for too long, or is gone."""


class UDPMapping:
    """One client socket and what has passed for it."""

    __slots__ = (
        "_reply",
        "bytes_in",
        "bytes_out",
        "client",
        "datagrams_in",
        "datagrams_out",
        "flows",
        "last_activity",
        "only_target",
        "user",
    )

    def __init__(self, client: Endpoint, target: Endpoint, now: float) -> None:
        self.client = client
        self.only_target: Endpoint | None = target
        """Whom alone the client has spoken to; None once there are several."""
        self.last_activity = now
        self.user: SocketOwner | None = None
        """Who serves this client socket."""
        self.flows: dict[bytes, DatagramFlow] = {}
        """Those that are remembered, under their keys."""
        self.datagrams_out = 0
        """Datagrams from the client."""
        self.bytes_out = 0
        self.datagrams_in = 0
        """Datagrams to the client."""
        self.bytes_in = 0
        self._reply: _ReplyHeader | None = None


class DatagramFlow:
    """One client socket's datagrams to one destination."""

    __slots__ = ("bytes_out", "filter", "key", "mapping", "run", "target", "user")

    def __init__(self, key: bytes, mapping: UDPMapping, target: Endpoint) -> None:
        self.key = key
        """Source address, destination address, source port and destination port, as they stand in a packet."""
        self.mapping = mapping
        self.target = target
        self.bytes_out = 0
        """From the client."""
        self.user: DatagramOwner | None = None
        """To whom the client's datagrams go first."""
        self.filter: DatagramFilter | None = None
        """Who is `user` only to look, before whoever serves the flow."""
        self.run: UDPRun | None = None
        """What has arrived in this batch, if more may be added to it."""

    @property
    def owner(self) -> DatagramOwner | None:
        """Who serves the flow, behind its filter if there is one; None for nobody yet."""
        return self.user if self.filter is None else self.filter.behind

    def give_to(self, owner: DatagramOwner | None) -> None:
        """Have `owner` serve the flow; behind its filter, if there is one."""
        if self.filter is None:
            self.user = owner
        else:
            self.filter.give_to(owner)


class UDPRun:
    """Datagrams of one flow in the order in which they came."""

    __slots__ = ("flow", "gso_size", "may_fragment", "payloads")

    def __init__(self, flow: DatagramFlow, gso_size: int, may_fragment: bool) -> None:
        self.flow = flow
        self.payloads: list[Buffer] = []
        """One datagram each; or one super-datagram, if `gso_size` is set."""
        self.gso_size = gso_size
        """In bytes: where a super-datagram is to be cut; 0 for none."""
        self.may_fragment = may_fragment
        """True if the sender lets them be fragmented: they came in fragments, or with DF clear."""

    def datagrams(self) -> Iterator[Buffer]:
        """Each datagram's payload; a super-datagram is cut."""
        if not self.gso_size:
            yield from self.payloads
            return
        for payload in self.payloads:
            for start in range(0, len(payload), self.gso_size):
                yield payload[start : start + self.gso_size]


class UDPTable:
    """The mappings, and datagrams both ways; see the module's rules.

    `mtu` is the device's in bytes, `idle_timeout` is in seconds.
    """

    def __init__(self, mtu: int = 1500, idle_timeout: float = IDLE_TIMEOUT, capacity: int = CAPACITY) -> None:
        self._mtu = mtu
        self._idle_timeout = idle_timeout
        self._capacity = capacity
        self._mappings: OrderedDict[tuple[bytes | str, int], UDPMapping] = OrderedDict()  # longest idle first
        self._identification = 0
        self.flows: dict[bytes, DatagramFlow] = {}
        """Those that are remembered, for the stack's fast path; oldest first."""
        self.arrivals: list[UDPRun] = []
        """Datagrams from clients, for the driver to take away with `take_arrivals`."""
        self.expired: list[UDPMapping] = []
        """Mappings that ended by time, by rule 5 or for lack of room, for the driver to take away and clean up
        after."""
        self.dropped = 0
        """Datagrams from the TUN that were malformed or that rule 4 keeps here."""

    def __len__(self) -> int:
        return len(self._mappings)

    def mappings(self) -> list[UDPMapping]:
        """All mappings, longest idle first."""
        return list(self._mappings.values())

    def receive(
        self,
        src: bytes,
        dst: bytes,
        segment: memoryview,
        checksum_verified: bool,
        gso_size: int,
        may_fragment: bool,
        now: float,
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
        # RFC 768: Length covers header and data. Less than the packet holds is padding; RFC 2675's 0 needs a
        # jumbogram.
        if (
            not 8 <= length <= available
            or not src_port
            or not dst_port
            or not (checksum_verified or _verified(src, dst, segment[:length], checksum))
        ):
            self.dropped += 1
            return
        key = src + dst + bytes(segment[:4])
        flow = self.flows.get(key) or self._new_flow(key, Endpoint(src, src_port), Endpoint(dst, dst_port), now)
        self.arrived(flow, segment[8:length], gso_size if length - 8 > gso_size else 0, may_fragment, now)

    def arrived(self, flow: DatagramFlow, payload: Buffer, gso_size: int, may_fragment: bool, now: float) -> None:
        """A datagram of `flow`, or a super-datagram to be cut every `gso_size` bytes. The hot path."""
        run = flow.run
        if run is None or gso_size or run.may_fragment is not may_fragment:
            run = UDPRun(flow, gso_size, may_fragment)
            self.arrivals.append(run)
            flow.run = None if gso_size else run
            # Once for the run: its datagrams came together.
            mapping = flow.mapping
            mapping.last_activity = now
            self._mappings.move_to_end(mapping.client)
        run.payloads.append(payload)

    def take_arrivals(self) -> list[UDPRun]:
        """What has arrived since the last call; nothing is added to it any more."""
        arrivals, self.arrivals = self.arrivals, []
        for run in arrivals:
            flow, payloads, gso_size = run.flow, run.payloads, run.gso_size
            flow.run = None
            size = sum(map(len, payloads))
            flow.bytes_out += size
            flow.mapping.bytes_out += size
            flow.mapping.datagrams_out += -(-size // gso_size) if gso_size else len(payloads)
        return arrivals

    def datagram(self, mapping: UDPMapping, source: Endpoint, payload: Buffer, now: float) -> Packet:
        """The packet that brings the client a datagram from `source`; its checksum is left to the device.

        Raises BadPacket when `source` is a name or of the other address family, or `payload` too long for IP.
        """
        return self.datagrams(mapping, source, (payload,), 0, now)

    def datagrams(
        self, mapping: UDPMapping, source: Endpoint, payloads: Sequence[Buffer], gso_size: int, now: float
    ) -> Packet:
        """One datagram from `source`; or several in one packet, for devices that take USO (virtio-net GSO_UDP_L4).

        The payloads together are cut every `gso_size` bytes (0: not at all) into at most `MAX_BATCH` datagrams.
        Raises BadPacket like `datagram`, the length being that of all of them together.
        """
        size = sum(map(len, payloads))
        count = -(-size // gso_size) if gso_size else 1
        reply = mapping._reply
        if reply is None or reply.source != source:
            reply = mapping._reply = _ReplyHeader(source, mapping.client)
        length = udp.HEADER_SIZE + (gso_size if count > 1 else size)
        if length + ipv4.HEADER_SIZE > self._mtu and not gso_size:
            self._identification = self._identification % 0xFFFF + 1
            header = reply.build(size, 0, self._identification)
        else:
            header = reply.build(size, gso_size if count > 1 else 0, 0)
        mapping.datagrams_in += count
        mapping.bytes_in += size
        if self._mappings.get(mapping.client) is mapping:  # not one that is expired or closed already
            mapping.last_activity = now
            self._mappings.move_to_end(mapping.client)
        return [header, *payloads]

    def port_unreachable(self, client: Endpoint, target: Endpoint) -> None:
        """The client says that nobody listens where a datagram from `target` went: rule 5."""
        mapping = self._mappings.get(client)
        if mapping is not None and mapping.datagrams_in and mapping.only_target == target:
            self._end(mapping)
            self.expired.append(mapping)

    def close(self, mapping: UDPMapping) -> None:
        """Forget a mapping on the driver's behalf; it does not show up in `expired`. Twice does no harm."""
        if self._mappings.get(mapping.client) is mapping:
            self._end(mapping)

    def next_timeout(self) -> float | None:
        """When the mapping idle for longest expires."""
        for mapping in self._mappings.values():
            return mapping.last_activity + self._idle_timeout
        return None

    def handle_timeout(self, now: float) -> None:
        """Expire what has been idle for the time-out."""
        while (due := self.next_timeout()) is not None and due <= now:
            self._end_oldest()

    def _new_flow(self, key: bytes, client: Endpoint, target: Endpoint, now: float) -> DatagramFlow:
        mapping = self._mappings.get(client)
        if mapping is None:
            if len(self._mappings) >= self._capacity:
                self._end_oldest()
            mapping = self._mappings[client] = UDPMapping(client, target, now)
        elif mapping.only_target != target:
            mapping.only_target = None
        if len(self.flows) >= FLOW_CAPACITY:
            oldest = self.flows.pop(next(iter(self.flows)))
            del oldest.mapping.flows[oldest.key]
        flow = self.flows[key] = mapping.flows[key] = DatagramFlow(key, mapping, target)
        return flow

    def _end_oldest(self) -> None:
        mapping = next(iter(self._mappings.values()))
        self._end(mapping)
        self.expired.append(mapping)

    def _end(self, mapping: UDPMapping) -> None:
        del self._mappings[mapping.client]
        for key in mapping.flows:
            del self.flows[key]
        mapping.flows.clear()


class _ReplyHeader:
    """All that stands before a payload from one source to one client, its constant sums added up once.

    Raises BadPacket for a source that no packet to the client can name: a host name, the other address family.
    """

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
            self._header_sum = _VERSION_4 + _TTL_PROTOCOL
            self._header_sum += raw_sum(source.host) + raw_sum(client.host)
        self._vnet = self._vnet_header(0)

    def build(self, size: int, gso_size: int, identification: int) -> bytes:
        """The headers of `size` bytes of payload, to be cut every `gso_size` bytes (0: not at all).

        An IPv4 packet with an identification (not 0) may be fragmented; one without says that it must not. Raises
        BadPacket for more than fits a packet.
        """
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
        flags = 0 if identification else ipv4.DONT_FRAGMENT
        header_sum = 0xFFFF ^ (self._header_sum + total + identification + flags) % 65535
        return _ipv4_udp.pack(
            vnet, _VERSION_4, total, identification, flags, _TTL_PROTOCOL, header_sum, self._host, client,
            self.source.port, self._port, length, partial,
        )  # fmt: skip

    def _vnet_header(self, gso_size: int) -> bytes:
        ip_size = ipv4.HEADER_SIZE if len(self._host) == 4 else ipv6.HEADER_SIZE
        kind = virtio_net.GSO_UDP_L4 if gso_size else virtio_net.GSO_NONE
        return virtio_net.HEADER.pack(
            virtio_net.NEEDS_CSUM, kind, ip_size + udp.HEADER_SIZE, gso_size, ip_size, udp.CHECKSUM_OFFSET
        )


def _verified(src: bytes, dst: bytes, datagram: memoryview, checksum: int) -> bool:
    """Return True if the checksum is right, or rightly absent."""
    if not checksum:  # RFC 768: the sender made none; RFC 8200 §8.1: which it must not do in IPv6
        return len(src) == 4
    total = pseudo_sum(src, dst, protocols.UDP, len(datagram)) + raw_sum(datagram)
    return total % 65535 == 0
