"""The stack: packets of a device in, flows and packets for the device out.

It answers for every address behind the device's default route: whatever a client opens to anyone, it opens to the
stack. Read `tunflow.machine` for the contract. The driver calls `receive` with the batch it read, then serves what
appeared in `requests`, `changed`, `udp.arrivals` and `icmp.echo_requests`, then calls `flush` and writes `outgoing`.
Where the budget has a limit, it calls `wake_starved` before the last look at `changed`.

Rules: a packet that is not well-formed is counted and dropped, never raised about; martians get no answer
(`stack.martians`). The tunnel is one hop: what has no hop left for it gets time exceeded, unless it is for the tunnel
itself or belongs to a connection, whose other end is here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from tunflow.device import Packet
from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket, LocalError
from tunflow.stack import martians
from tunflow.stack.budget import RESERVE, MemoryBudget
from tunflow.stack.icmp import ICMP, ErrorReport, Reason
from tunflow.stack.ip_input import Arrival, IPInput
from tunflow.stack.tcp.arrival import segment_arrived
from tunflow.stack.tcp.closing import KEEPALIVE_IDLE
from tunflow.stack.tcp.connection import Connection
from tunflow.stack.tcp.header import HeaderTemplate
from tunflow.stack.tcp.time_wait import TimeWait, TimeWaitEntry
from tunflow.stack.timers import ConnectionTimers
from tunflow.stack.udp import DatagramFlow, UDPTable
from tunflow.wire import icmp, offload, protocols, tcp, virtio_net
from tunflow.wire.checksum import transport_checksum

RECEIVE_LIMIT = 256 * 1024
SEND_LIMIT = 256 * 1024
"""Bytes a connection buffers in each direction at most: four super-segments, which a hop inside one host never
drains faster than they are refilled."""

FRAGMENTS_LIMIT = 1 << 20
"""Bytes of incomplete packets, or of a budget that is small the part that connections leave."""

HALF_OPEN_LIMIT = 4096
"""SYNs held or answered but not yet acknowledged, at most. Beyond it a SYN is dropped, as a full backlog does; the
client sends it again."""

SMALL_DATAGRAM = 2048
"""Bytes up to which a copy of a datagram costs less than a view of it."""

_VERIFIED = virtio_net.NEEDS_CSUM | virtio_net.DATA_VALID
_ISN_CLOCK = 250_000
"""RFC 9293 §3.4.1: the initial sequence number's clock ticks every 4 microseconds."""


class Stack:
    """One device's stack. `secret` keys the initial sequence numbers (RFC 6528); `mtu` is the device's, in bytes.

    `own` are the tunnel's own addresses, packed: packets to them have arrived, and time exceeded comes from them.
    `budget` bounds what all connections buffer together.
    """

    def __init__(
        self, mtu: int, secret: bytes, own: frozenset[bytes] = frozenset(), budget: MemoryBudget | None = None
    ) -> None:
        self.mtu = mtu
        self.budget = budget if budget is not None else MemoryBudget()
        self.postponed = 0
        """SYNs dropped because the budget has no room for new connections; clients send them again."""
        self.own = own
        self.receive_limit = RECEIVE_LIMIT
        self.send_limit = SEND_LIMIT
        self.outgoing: list[Packet] = []
        """Packets for the device, for the driver to take away."""
        self.requests: list[Connection] = []
        """Connections whose SYN is held, for the driver to accept or reject some time."""
        self.changed: list[Connection] = []
        """Connections whose owner should look."""
        self.starved: dict[Connection, None] = {}
        """Connections whose owner waits for memory that others hold, the longest wait first."""
        self.acks: list[Connection] = []
        """Connections with an ACK to send at the end of the batch."""
        self.udp = UDPTable(mtu)
        self.icmp = ICMP(own)
        self.dropped = 0
        """Packets that were malformed or had no business coming."""
        self.retransmissions = 0
        """Segments sent again, on connections that are over."""
        self._secret = secret
        self._keyed = hashlib.blake2s(key=secret, digest_size=4)
        self._connections: dict[bytes, Connection] = {}
        self.half_open = 0
        """Connections of clients whose SYN is held, or answered and not yet acknowledged."""
        self._time_wait = TimeWait()
        self._timers = ConnectionTimers(self._connections.values())
        self.schedule: Callable[[Any, float], None] = self._timers.schedule
        """The connection wants to be called at that time."""
        self.watch_idle: Callable[[float], None] = self._timers.watch_idle
        """Some connection may have been idle for too long by then."""
        self._ip = IPInput(int(min(FRAGMENTS_LIMIT, self.budget.limit / RESERVE)))
        self._next_timeouts = (self._time_wait.next_timeout, self.udp.next_timeout, self._ip.next_timeout)
        self.now = 0.0
        """When the packets in hand arrived, or the timers fired."""

    @property
    def connections(self) -> int:
        """How many TCP connections there are, TIME-WAIT not counted."""
        return len(self._connections)

    # The driver's side.

    def connect(self, source: Endpoint, target: Endpoint, now: float) -> Connection:
        """Open a connection from `source` to `target`, an address behind the device, both packed; send its SYN.

        The owner finds the connection in `changed` when it is `open`, or `closed` because it was refused
        (`was_reset`) or nobody answered. Raises LocalError when there is one with these addresses and ports already.
        """
        assert isinstance(source.host, bytes)
        assert isinstance(target.host, bytes)
        key = _key(target, source)
        if key in self._connections or len(source.host) != len(target.host):
            raise LocalError(f"no connection from {source} to {target}: one is open, or the families differ")
        self.now = now
        self._time_wait.remove(key)
        connection = Connection(self, key, target, source, 0, tcp.NO_OPTIONS, b"")
        self._connections[key] = connection
        self.watch_idle(now + KEEPALIVE_IDLE)
        connection.connect(now)
        return connection

    def receive(self, packets: Iterable[bytes], offset: int, now: float) -> None:
        """Take a batch in; the IP header of each packet is at `offset` (0, or 10 behind a virtio-net header).

        An iterator on which a bug left packets may be given again.
        """
        self.now = now
        connections = self._connections
        flows = self.udp.flows
        for packet in packets:
            size = len(packet)
            if size < offset + 40:
                self._receive_other(packet, offset, now)
                continue
            first = packet[offset]
            # Nearly all packets are TCP without IP options or extension headers: their addresses and ports stand
            # side by side, so one slice is the key of the connection.
            if first == 0x45 and packet[offset + 9] == protocols.TCP and not packet[offset + 6] & 0x3F:
                at = offset + 20
                end = offset + (packet[offset + 2] << 8 | packet[offset + 3])
                key = packet[offset + 12 : offset + 24]
            elif first >> 4 == 6 and packet[offset + 6] == protocols.TCP and size >= offset + 60:
                at = offset + 40
                end = at + (packet[offset + 4] << 8 | packet[offset + 5])
                key = packet[offset + 8 : offset + 44]
            else:
                # The same for UDP of a flow that is known, where the device vouches for the checksum.
                if first == 0x45:
                    flow = flows.get(packet[offset + 12 : offset + 24])
                else:
                    flow = flows.get(packet[offset + 8 : offset + 44])
                if flow is None or not offset or not self._receive_datagram(packet, first, offset, flow, now):
                    self._receive_other(packet, offset, now)
                continue
            if end > size or end < at + 20 or (packet[offset + 7] and first == 0x45):
                self._receive_other(packet, offset, now)
            elif not (offset and packet[0] & _VERIFIED) and not self._verify(packet, offset, at, end):
                self.dropped += 1
            else:
                connection = connections.get(key)
                if connection is not None:
                    segment_arrived(connection, packet, at, end, now)
                else:
                    self._segment_of_no_connection(packet, offset, at, end, key, now)

    def knows(self, key: bytes) -> bool:
        """Return True if there is a connection, or one in TIME-WAIT, between the addresses and ports of a packet: those
        bytes of it, source first, as they stand in a packet without options."""
        return key in self._connections or self._time_wait.find(key) is not None

    def cut_all(self) -> None:
        """End every connection, as if its client had reset it: the device is gone."""
        for connection in list(self._connections.values()):
            connection.cut()

    def wake_starved(self) -> None:
        """Have the owners look that wait for memory, if there is some; once a round, before `changed` is served."""
        if self.starved and self.budget.room > 0:
            starved, self.starved = self.starved, {}
            for connection in starved:
                connection.notify()

    def flush(self) -> None:
        """The batch is done: send the ACKs that nothing carried. May be called again for those that a bug left."""
        acks = self.acks
        while acks:
            acks.pop().flush_ack()

    def next_timeout(self) -> float | None:
        """When `handle_timeout` wants to be called."""
        due = self._timers.next_timeout()
        for next_timeout in self._next_timeouts:
            when = next_timeout()
            if when is not None and (due is None or when < due):
                due = when
        return due

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self.now = now
        self._timers.handle_timeout(now)
        self._time_wait.handle_timeout(now)
        self.udp.handle_timeout(now)
        self._ip.handle_timeout(now)

    def unreachable(self, original: bytes, reason: Reason, now: float) -> None:
        """Tell the sender of a plain IP packet why it goes nowhere, if that is allowed."""
        error = self.icmp.unreachable(memoryview(original), reason, now)
        if error is not None:
            self.outgoing.append(error)

    def error_about(self, original: bytes, message: icmp.Error, reporter: bytes | None, now: float) -> None:
        """Tell the sender of a plain IP packet what `reporter` (an address; None: its destination) says about it."""
        error = self.icmp.error(memoryview(original), message, reporter, now)
        if error is not None:
            self.outgoing.append(error)

    def datagram_undelivered(
        self,
        client: Endpoint,
        target: Endpoint,
        payload: Buffer,
        message: icmp.Error,
        now: float,
        reporter: bytes | None = None,
    ) -> None:
        """Tell a client what became of its datagram to `target`, of whose payload the start is at hand."""
        error = self.icmp.about_datagram(client, target, payload, message, reporter, now)
        if error is not None:
            self.outgoing.append(error)

    def path_mtu(self, client: Endpoint, target: Endpoint, seq: int, mtu: int, now: float) -> None:
        """A router's answer to a TCP segment from `target` to `client`: no more than `mtu` bytes fit (RFC 1191, 8201).

        `seq` is the sequence number in the quote. What does not fit a connection is ignored.
        """
        connection = self._connections.get(_key(client, target))
        if connection is not None:
            self.now = now
            connection.path_mtu(seq, mtu, now)

    def unreachable_reported(self, client: Endpoint, target: Endpoint, seq: int, reason: Reason, now: float) -> None:
        """A router's or the client's answer to a TCP segment from `target` to `client`: it did not get there."""
        connection = self._connections.get(_key(client, target))
        if connection is not None:
            self.now = now
            connection.unreachable_reported(seq, reason)

    # What connections need (tcp.host.Host).

    def initial_sequence(self, key: bytes, now: float) -> int:
        """RFC 6528 section 3: a clock plus a keyed hash of the connection's addresses and ports."""
        keyed = self._keyed.copy()
        keyed.update(key)
        return (int(now * _ISN_CLOCK) + int.from_bytes(keyed.digest(), "big")) & 0xFFFFFFFF

    def timestamp_offset(self, key: bytes) -> int:
        """RFC 7323 §5.4: where a connection's timestamps begin."""
        return int.from_bytes(hashlib.blake2s(key, key=self._secret, digest_size=4, person=b"stamps").digest(), "big")

    def finished(self, connection: Connection, lingers: bool, was_half_open: bool) -> None:
        """The connection is over; `lingers`: it is owed a place in TIME-WAIT."""
        self._connections.pop(connection.key, None)
        self.starved.pop(connection, None)
        self.half_open -= was_half_open
        self.retransmissions += connection.sender.retransmissions
        if lingers:
            self._time_wait.add(connection, self.now)

    # TCP without a connection.

    def _segment_of_no_connection(self, packet: bytes, offset: int, at: int, end: int, key: bytes, now: float) -> None:
        """A SYN asks for a connection; anything else gets RST (RFC 9293 §3.10.7.1), or TIME-WAIT's answer."""
        header = tcp.HEADER.unpack_from(packet, at)
        source_port, target_port, seq, ack, data_offset, flags, _, _, _ = header
        header_size = data_offset >> 2 & 0x3C
        if header_size < 20 or at + header_size > end:
            self.dropped += 1
            return
        width = 4 if len(key) == 12 else 16
        source, target = key[:width], key[width : 2 * width]
        if not (source_port and target_port and martians.may_be_source(source) and martians.may_be_destination(target)):
            self.dropped += 1
            return
        offered = packet[at + 20 : at + header_size]
        place = self._time_wait.find(key)
        if place is not None and not self._leaves_time_wait(place, key, seq, flags, offered, now):
            return
        if flags & tcp.RST:
            return
        if flags & (tcp.SYN | tcp.ACK) == tcp.SYN:
            if packet[offset + (8 if width == 4 else 7)] <= 1 and target not in self.own:
                self._time_exceeded(packet, offset, now)
            elif self.half_open >= HALF_OPEN_LIMIT:
                self.dropped += 1
            elif not self.budget.admits:
                self.postponed += 1
            else:
                is_local = bool(offset and packet[0] & virtio_net.NEEDS_CSUM)
                client, server = Endpoint(source, source_port), Endpoint(target, target_port)
                self._hold_syn(key, client, server, seq, offered, packet[offset:end], is_local, now)
            return
        template = HeaderTemplate(target, target_port, source, source_port, self.mtu)
        if flags & tcp.ACK:
            self.outgoing.append(template.build(ack, 0, tcp.RST, 0, 0))
        else:
            length = end - at - header_size + (flags & tcp.FIN)
            self.outgoing.append(template.build(0, seq + length, tcp.RST | tcp.ACK, 0, 0))

    def _leaves_time_wait(
        self, place: TimeWaitEntry, key: bytes, seq: int, flags: int, offered: bytes, now: float
    ) -> bool:
        """Answer a segment for a connection in TIME-WAIT. Return True if it is a SYN that ends that state."""
        is_syn = flags & (tcp.SYN | tcp.RST | tcp.ACK) == tcp.SYN
        if is_syn and place.gives_way(seq, tcp.parse_options(offered)):
            self._time_wait.remove(key)
            return True
        if flags & tcp.RST:
            return False  # RFC 1337: a reset does not end TIME-WAIT
        if flags & tcp.FIN:
            self._time_wait.restart(key, now)
        self.outgoing.append(place.answer(now))
        return False

    def _hold_syn(
        self,
        key: bytes,
        client: Endpoint,
        target: Endpoint,
        seq: int,
        offered: bytes,
        syn: bytes,
        is_local: bool,
        now: float,
    ) -> None:
        """A client asks for a connection: it waits in `requests` until it is accepted or rejected.

        When nobody has put a checksum in, the client is on this host (`is_local`), and no wire, which could delay or
        repeat packets, lies between. Timestamps would only cost (docs/adr/0010).
        """
        options = tcp.parse_lasting_options(offered) if is_local else tcp.parse_options(offered)
        connection = Connection(self, key, client, target, seq, options, syn, is_local)
        self._connections[key] = connection
        self.half_open += 1
        self.watch_idle(now + KEEPALIVE_IDLE)
        self.requests.append(connection)

    def _verify(self, packet: bytes, offset: int, at: int, end: int) -> bool:
        """Return True if the checksums of a TCP packet are right; for devices that do not vouch for them."""
        if at - offset == 20:
            if ipv4_header_is_wrong(packet[offset:at]):
                return False
            source, target = packet[offset + 12 : offset + 16], packet[offset + 16 : offset + 20]
        else:
            source, target = packet[offset + 8 : offset + 24], packet[offset + 24 : offset + 40]
        return transport_checksum(source, target, protocols.TCP, memoryview(packet)[at:end]) == 0

    # Everything that is not TCP in a plain IP packet.

    def _receive_datagram(self, packet: bytes, first: int, offset: int, flow: DatagramFlow, now: float) -> bool:
        """Take in UDP without IP options, extension headers or fragments. Return False if it is anything but that.

        `flow` is what the place of addresses and ports names, which is not yet to say that they stand there.
        """
        if first == 0x45:
            at = offset + 20
            end = offset + (packet[offset + 2] << 8 | packet[offset + 3])
            flags = packet[offset + 6]
            if packet[offset + 9] != protocols.UDP or flags & 0x3F or packet[offset + 7] or packet[offset + 8] < 2:
                return False
            may_fragment = not flags
        else:
            at = offset + 40
            end = at + (packet[offset + 4] << 8 | packet[offset + 5])
            if first >> 4 != 6 or packet[offset + 6] != protocols.UDP or packet[offset + 7] < 2:
                return False
            may_fragment = False
        length = end - at
        if length < 8 or end > len(packet) or not packet[0] & _VERIFIED:
            return False
        if length != packet[at + 4] << 8 | packet[at + 5]:
            return False
        gso_size = packet[4] | packet[5] << 8 if packet[1] == virtio_net.GSO_UDP_L4 else 0
        if length - 8 <= gso_size:
            gso_size = 0
        payload = packet[at + 8 : end] if length <= SMALL_DATAGRAM else memoryview(packet)[at + 8 : end]
        self.udp.arrived(flow, payload, gso_size, may_fragment, now)
        return True

    def _receive_other(self, packet: bytes, offset: int, now: float) -> None:
        try:
            arrival = self._ip.open_untrusted(packet, offset, now)
        except BadPacket:
            self.dropped += 1
            return
        if arrival is None:
            return
        if arrival.protocol == protocols.TCP:
            self._receive_tcp(arrival, now)
        elif arrival.hops <= 1 and arrival.target not in self.own:
            self._time_exceeded(arrival.packet, arrival.offset, now)
        elif arrival.protocol == protocols.UDP:
            self._receive_udp(arrival, now)
        elif arrival.protocol == (protocols.ICMP if len(arrival.source) == 4 else protocols.ICMPV6):
            self.icmp.receive(arrival.source, arrival.target, memoryview(arrival.packet)[arrival.at : arrival.end])
            reports, self.icmp.errors = self.icmp.errors, []
            for report in reports:
                self._judge(report, now)
        else:
            self.dropped += 1
            if arrival.protocol != protocols.NO_NEXT_HEADER:
                self._protocol_unknown(memoryview(arrival.packet)[arrival.offset :], now)

    def _receive_tcp(self, arrival: Arrival, now: float) -> None:
        packet, offset, at, end, _, source, target, _, _ = arrival
        verified = offset and packet[0] & _VERIFIED
        if end - at < tcp.HEADER_SIZE or not (
            verified or transport_checksum(source, target, protocols.TCP, memoryview(packet)[at:end]) == 0
        ):
            self.dropped += 1
            return
        # Options or extension headers stand before it: make the key as if they did not.
        key = source + target + packet[at : at + 4]
        connection = self._connections.get(key)
        if connection is not None:
            segment_arrived(connection, packet, at, end, now)
        else:
            self._segment_of_no_connection(packet, offset, at, end, key, now)

    def _receive_udp(self, arrival: Arrival, now: float) -> None:
        packet, offset, at, end, _, source, target, _, may_fragment = arrival
        verified = bool(offset and packet[0] & _VERIFIED)
        vnet = virtio_net.HEADER.unpack_from(packet) if offset else None
        gso_size = vnet[3] if vnet is not None and vnet[1] == virtio_net.GSO_UDP_L4 else 0
        self.udp.receive(source, target, memoryview(packet)[at:end], verified, gso_size, may_fragment, now)

    def _protocol_unknown(self, original: memoryview, now: float) -> None:
        """Nobody behind a tunnel takes GRE, SCTP, ESP …: who sends it learns so at once and need not wait."""
        error = self.icmp.protocol_unknown(original, now)
        if error is not None:
            self.outgoing.append(error)

    def _time_exceeded(self, packet: bytes, offset: int, now: float) -> None:
        """RFC 1812 §5.3.1: a router discards what it cannot forward for lack of hops, and says so."""
        self.dropped += 1
        if offset:
            # Some traceroutes know their probes by the checksum, so the quote has it complete.
            try:
                packet = b"".join(offload.segment([packet[:offset], packet[offset:]])[0])
            except BadPacket:
                return
        error = self.icmp.time_exceeded(memoryview(packet), now)
        if error is not None:
            self.outgoing.append(error)

    def _judge(self, report: ErrorReport, now: float) -> None:
        """Hand what a client, or a router before it, says about a packet of ours to the flow that it belongs to."""
        client, target, reason = report.destination, report.source, report.reason
        if report.protocol == protocols.UDP:
            if report.is_from_client and reason is Reason.PORT:
                self.udp.port_unreachable(client, target)
        elif isinstance(report.message, icmp.PacketTooBig):
            self.path_mtu(client, target, report.sequence, report.message.mtu, now)
        elif reason is not None:
            self.unreachable_reported(client, target, report.sequence, reason, now)


def ipv4_header_is_wrong(header: bytes) -> bool:
    """Return True if a header without options fails its checksum."""
    return int.from_bytes(header, "big") % 65535 != 0


def _key(client: Endpoint, target: Endpoint) -> bytes:
    """What a connection is found by: addresses and ports as they stand in the packets that arrive."""
    assert isinstance(client.host, bytes)
    assert isinstance(target.host, bytes)
    return client.host + target.host + client.port.to_bytes(2, "big") + target.port.to_bytes(2, "big")
