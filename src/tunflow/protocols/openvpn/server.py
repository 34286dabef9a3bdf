"""Many clients of one OpenVPN server, without I/O.

`source` is whatever tells clients' addresses apart (a socket address, a TCP connection).

Rules: with tls-auth or tls-crypt a packet that does not authenticate makes no state. What has not been let in yet is
bounded, and the oldest makes room. A client sends from the address that it was given, or its packet is dropped; it may
move to another `source` with a data packet that authenticates (float).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from heapq import heappop, heappush
from ipaddress import IPv4Network
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Generic, TypeVar

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket, LocalError
from tunflow.protocols.openvpn.control_packets import ControlPackets, auth, crypt, is_control
from tunflow.protocols.openvpn.data_key import NO_PEER
from tunflow.protocols.openvpn.packet import Opcode, head_untrusted
from tunflow.protocols.openvpn.server_session import Caller, Lease, ServerSession, accept_untrusted
from tunflow.protocols.openvpn.settings import ServerPart, Settings
from tunflow.protocols.openvpn.static_key import StaticKey
from tunflow.protocols.openvpn.tls import make_context
from tunflow.protocols.openvpn.wrapping import Plain, Wrapping, unwrap_client_key_untrusted

if TYPE_CHECKING:
    from OpenSSL import SSL

MOST_STRANGERS = 2048
"""Clients that are being let in at once."""

Source = TypeVar("Source", bound=Hashable)
Batch = tuple[list[bytes], Source]


class _Client(Generic[Source]):
    """A session, where it is, and when it wants to be called."""

    def __init__(self, session: ServerSession, packets: ControlPackets, source: Source) -> None:
        self.session = session
        self.packets = packets
        self.source = source
        self.scheduled = inf


class OpenVPNServer(Generic[Source]):
    """See the module."""

    def __init__(
        self,
        settings: Settings,
        now: float,
        *,
        unix_offset: float,
        random_bytes: Callable[[int], bytes],
        knows: Callable[[Caller], bool] = lambda _: True,
    ) -> None:
        """`knows` is asked about each client whose certificate is good. Raises LocalError for wrong keys."""
        if settings.server is None:
            raise LocalError(f"{settings.name}: there is no `server NETWORK MASK`")
        self.part: ServerPart = settings.server
        self.network = IPv4Network(self.part.network)
        self.dropped = 0
        self._settings = settings
        self._unix_offset = unix_offset
        self._random_bytes = random_bytes
        self._knows = knows
        self._context: SSL.Context = make_context(settings.identity, settings.demands, now + unix_offset, server=True)
        self._strangers: dict[Source, _Client[Source]] = {}
        self._clients: dict[Source, _Client[Source]] = {}
        self._by_peer: dict[int, _Client[Source]] = {}
        self._by_address: dict[bytes, _Client[Source]] = {}
        self._output: list[Batch[Source]] = []
        self._due: list[tuple[float, int, _Client[Source]]] = []
        self._order = count()
        self._admitting: _Client[Source] | None = None

    @property
    def clients(self) -> list[str]:
        """The names of those who are connected."""
        return [client.session.name for client in self._by_peer.values()]

    def receive_untrusted(self, datagrams: Sequence[bytes], source: Source, now: float) -> list[bytes]:
        """Take what came from one place; the IP packets in it."""
        packets = []
        for datagram in datagrams:
            try:
                if is_control(datagram):
                    self._control_untrusted(datagram, source, now)
                else:
                    packet = self._data_untrusted(datagram, source, now)
                    if packet is not None:
                        packets.append(packet)
            except BadPacket:
                self.dropped += 1
        return packets

    def send(self, packets: Sequence[Buffer], now: float) -> None:
        """Have IP packets sent to the clients that they are for; the rest is dropped."""
        run: list[Buffer] = []
        whose: _Client[Source] | None = None
        for packet in packets:
            client = self._by_address.get(bytes(packet[16:20])) if packet and packet[0] >> 4 == 4 else None
            if client is None:
                self.dropped += 1
                continue
            if client is not whose:
                self._seal(run, whose, now)
                run, whose = [], client
            run.append(packet)
        self._seal(run, whose, now)

    def take_output(self) -> list[Batch[Source]]:
        """Datagrams, and where they go."""
        taken, self._output = self._output, []
        return taken

    def close(self, now: float) -> None:
        """Tell the clients that it is over: they will come again."""
        for client in list(self._by_peer.values()):
            client.session.say("RESTART", now)
            self._after(client, now)

    def forget(self, source: Source, now: float) -> None:
        """A TCP connection is gone."""
        for client in (self._strangers.get(source), self._clients.get(source)):
            if client is not None:
                client.session.is_over = True
                self._after(client, now)

    def next_timeout(self) -> float | None:
        """See `machine.Timed`."""
        return self._due[0][0] if self._due else None

    def handle_timeout(self, now: float) -> None:
        """See `machine.Timed`."""
        while self._due and self._due[0][0] <= now:
            due, _, client = heappop(self._due)
            if due == client.scheduled:
                client.scheduled = inf
                client.session.handle_timeout(now)
                self._after(client, now)

    # Packets.

    def _control_untrusted(self, packet: bytes, source: Source, now: float) -> None:
        head = head_untrusted(packet)
        candidates = (self._strangers.get(source), self._clients.get(source))
        client = next((each for each in candidates if each and each.session.peer_session == head.session), None)
        if client is None:
            client = self._meet_untrusted(packet, source, now)
        else:
            client.packets.now = now
            if head.opcode in {Opcode.RESET_CLIENT_V3, Opcode.CONTROL_WKC} and self._settings.tls_crypt_v2_server:
                packet = unwrap_client_key_untrusted(self._settings.tls_crypt_v2_server, packet)[2]
            self._admitting = client
            client.session.control_untrusted(*client.packets.open_untrusted(packet), now)
        self._after(client, now)

    def _meet_untrusted(self, packet: bytes, source: Source, now: float) -> _Client[Source]:
        """A new client's session. Raises BadPacket for what may not begin one."""
        head = head_untrusted(packet)
        if head.opcode not in {Opcode.RESET_CLIENT, Opcode.RESET_CLIENT_V3}:
            raise BadPacket("a control packet of nobody's")
        wrapping, original, packet = self._wrapping_untrusted(packet)
        packets = ControlPackets(self._random_bytes(8), wrapping, original, self._unix_offset)
        packets.now = now
        control = accept_untrusted(packets, head, packet)
        session = ServerSession(self._settings, self._context, packets, self._admit, now, self._random_bytes)
        client = _Client(session, packets, source)
        while len(self._strangers) >= MOST_STRANGERS:
            self._strangers.pop(next(iter(self._strangers))).session.is_over = True
        self._strangers[source] = client
        session.control_untrusted(head, control, now)
        return client

    def _wrapping_untrusted(self, packet: bytes) -> tuple[Wrapping, StaticKey | None, bytes]:
        """A client's protection, its key, and its first packet without a wrapped key. Raises BadPacket."""
        settings = self._settings
        if settings.tls_crypt_v2_server is not None:
            key, _, rest = unwrap_client_key_untrusted(settings.tls_crypt_v2_server, packet)
            return crypt(key, server=True), key, rest
        if settings.tls_crypt is not None:
            return crypt(settings.tls_crypt, server=True), settings.tls_crypt, packet
        if settings.tls_auth is not None:
            return auth(settings.tls_auth, settings.digest, settings.key_direction), settings.tls_auth, packet
        return Plain(), None, packet

    def _data_untrusted(self, packet: bytes, source: Source, now: float) -> bytes | None:
        if len(packet) < 4:
            raise BadPacket("no packet is that short")
        client = self._clients.get(source)
        if packet[0] >> 3 == Opcode.DATA_V2:
            client = self._by_peer.get(int.from_bytes(packet[1:4], "big"), client)
        if client is None:
            raise BadPacket("a data packet of nobody's")
        plain = client.session.open_untrusted(packet, now)
        if client.source != source:
            self._move(client, source)
        if client.session.is_over:
            self._after(client, now)
        if plain is None:
            return None
        lease = client.session.lease
        if lease is None or plain[0] >> 4 != 4 or plain[12:16] != lease.address.packed:
            raise BadPacket("a packet from an address that is not the client's")
        return plain

    def _seal(self, run: list[Buffer], client: _Client[Source] | None, now: float) -> None:
        if run and client is not None:
            self._output.append((client.session.seal(run, now), client.source))

    # Clients come and go.

    def _admit(self, caller: Caller) -> Lease | None:
        """Let a client in: its address, and its peer id."""
        client = self._admitting
        if client is None or not self._knows(caller):
            return None
        if not self.part.shares_names and caller.name:
            for other in [each for each in self._by_peer.values() if each.session.name == caller.name]:
                self._drop(other)  # it came again, from elsewhere
        if len(self._by_peer) >= self.part.most_clients:
            return None
        gateway, prefix = self.network[1], self.network.prefixlen
        for number in range(min(self.network.num_addresses - 3, NO_PEER)):
            address = self.network[number + 2]
            if number not in self._by_peer and address.packed not in self._by_address:
                self._by_peer[number] = self._by_address[address.packed] = client
                return Lease(number, address, prefix, gateway)
        return None

    def _after(self, client: _Client[Source], now: float) -> None:
        """Send what a client's session wants sent, keep it where it belongs, and its timer right."""
        session = client.session
        if output := session.take_output():
            self._output.append((output, client.source))
        if session.is_over:
            self._drop(client)
            return
        if session.is_connected and self._strangers.get(client.source) is client:
            del self._strangers[client.source]
            before = self._clients.get(client.source)
            if before is not None and before is not client:
                self._drop(before)
            self._clients[client.source] = client
        due = session.next_timeout()
        if due is not None and due < client.scheduled:
            client.scheduled = max(due, now)
            heappush(self._due, (client.scheduled, next(self._order), client))

    def _move(self, client: _Client[Source], source: Source) -> None:
        """The client's address is another one now."""
        if self._clients.get(client.source) is client:
            del self._clients[client.source]
        client.source = source
        self._clients[source] = client

    def _drop(self, client: _Client[Source]) -> None:
        client.session.is_over = True
        client.scheduled = inf
        for table in (self._strangers, self._clients):
            if table.get(client.source) is client:
                del table[client.source]
        lease = client.session.lease
        if lease is not None and self._by_peer.get(lease.peer_id) is client:
            del self._by_peer[lease.peer_id]
            del self._by_address[lease.address.packed]
