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
from itertools import count, groupby
from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING, Generic, TypeVar

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket, LocalError
from tunflow.protocols.openvpn.control_packets import ControlPackets, auth, crypt, is_control
from tunflow.protocols.openvpn.data_key import NO_PEER
from tunflow.protocols.openvpn.packet import Opcode, head_untrusted
from tunflow.protocols.openvpn.server_session import Caller, Lease, ServerSession, accept_untrusted
from tunflow.protocols.openvpn.settings import OpenVPNSettings, ServerPart
from tunflow.protocols.openvpn.static_key import StaticKey
from tunflow.protocols.openvpn.tls import make_context
from tunflow.protocols.openvpn.wrapping import Plain, Wrapping, unwrap_client_key_untrusted

if TYPE_CHECKING:
    from OpenSSL import SSL

MOST_STRANGERS = 2048
"""Clients that are being let in at once."""

_HEAD_SIZE = 4
_HEAD = itemgetter(slice(_HEAD_SIZE))
"""A DATA_V2's opcode, key and peer id."""
_IPV4 = 4
CONTEXT_LASTS = 3600.0
"""Seconds after which a certificate that has expired is refused at the latest."""

Source = TypeVar("Source", bound=Hashable)
Batch = tuple[list[bytes], Source]


class _Client(Generic[Source]):
    """A session, where it is, and when it wants to be called."""

    def __init__(self, session: ServerSession, packets: ControlPackets, source: Source) -> None:
        self.session = session
        self.packets = packets
        self.source = source
        self.scheduled = inf


class OpenVPNServerMachine(Generic[Source]):
    """See the module."""

    def __init__(
        self,
        settings: OpenVPNSettings,
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
        self._context_since = now
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

    @property
    def handshakes(self) -> int:
        """How many clients have begun to connect and have not agreed on everything yet."""
        return len(self._strangers)

    def receive_untrusted(self, datagrams: Sequence[bytes], source: Source, now: float) -> list[bytes]:
        """Take what came from one place; the IP packets in it."""
        packets: list[bytes] = []
        for _, run in groupby(datagrams, _HEAD):
            alike = list(run)
            if not is_control(alike[0]):
                packets += self._data_untrusted(alike, source, now)
                continue
            for datagram in alike:
                try:
                    self._control_untrusted(datagram, source, now)
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
        self.say("RESTART", now)

    def say(self, message: str, now: float) -> None:
        """Send a control message (management-notes of OpenVPN: INFO, PUSH_UPDATE, RESTART …) to all clients."""
        for client in list(self._by_peer.values()):
            client.session.say(message, now)
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
                if not client.session.is_over:
                    try:
                        client.session.handle_timeout(now)
                    except Exception:  # a bug, which ends the client: see then to what it leaves
                        self._look_at(client, now)
                        raise
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
            if client.session.is_over:
                self._after(client, now)
                return
            if head.opcode in {Opcode.RESET_CLIENT_V3, Opcode.CONTROL_WKC} and self._settings.tls_crypt_v2_server:
                packet = unwrap_client_key_untrusted(self._settings.tls_crypt_v2_server, packet)[2]
            self._admitting = client
            client.session.control_untrusted(*client.packets.open_untrusted(packet), now)
        self._after(client, now)

    def _context_of(self, now: float) -> SSL.Context:
        """What certificates are judged by: each is made for a moment, and taken for `CONTEXT_LASTS`."""
        if now - self._context_since > CONTEXT_LASTS:
            self._context = make_context(
                self._settings.identity, self._settings.demands, now + self._unix_offset, server=True
            )
            self._context_since = now
        return self._context

    def _meet_untrusted(self, packet: bytes, source: Source, now: float) -> _Client[Source]:
        """A new client's session. Raises BadPacket for what may not begin one."""
        head = head_untrusted(packet)
        if head.opcode not in {Opcode.RESET_CLIENT, Opcode.RESET_CLIENT_V3}:
            raise BadPacket("a control packet of nobody's")
        wrapping, original, packet = self._wrapping_untrusted(packet)
        packets = ControlPackets(self._random_bytes(8), wrapping, original, self._unix_offset)
        packets.now = now
        control = accept_untrusted(packets, head, packet)
        session = ServerSession(self._settings, self._context_of(now), packets, self._admit, now, self._random_bytes)
        client = _Client(session, packets, source)
        while len(self._strangers) >= MOST_STRANGERS:
            self._strangers.pop(next(iter(self._strangers))).session.is_over = True
        self._strangers[source] = client
        self._look_at(client, now + self._settings.hand_window)
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

    def _data_untrusted(self, packets: list[bytes], source: Source, now: float) -> list[bytes]:
        """The IP packets in data packets that begin alike, so are one client's; from its own address only."""
        head = packets[0]
        client = self._clients.get(source)
        if len(head) >= _HEAD_SIZE and head[0] >> 3 == Opcode.DATA_V2:
            client = self._by_peer.get(int.from_bytes(head[1:4], "big"), client)
        if client is None:
            self.dropped += len(packets)
            return []
        session = client.session
        if session.is_over:
            self._after(client, now)
            return []
        inner, count = session.open_all_untrusted(packets, now)
        if count and client.source != source:
            self._move(client, source)
        if session.is_over:
            self._after(client, now)
        admitted = []
        if session.lease is not None:
            own = session.lease.address.packed
            admitted = [packet for packet in inner if packet[12:16] == own and packet[0] >> 4 == _IPV4]
        self.dropped += len(packets) - count + len(inner) - len(admitted)
        return admitted

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
            self._look_at(client, max(due, now))

    def _look_at(self, client: _Client[Source], when: float) -> None:
        client.scheduled = when
        heappush(self._due, (when, next(self._order), client))

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
