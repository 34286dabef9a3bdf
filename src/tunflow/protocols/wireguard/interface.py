"""A WireGuard interface: packets of its peers on one side, datagrams on the other, and nothing else.

The contract is that of `tunflow.machine`: hand over what came and the time, drain `drain_packets`, `drain_datagrams`
and `drain_events`, call `handle_timeout` when `next_timeout` has passed. To whoever is no peer it never answers,
except for a cookie under load, which needs this interface's public key to be asked for.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network
from itertools import count, groupby
from operator import itemgetter

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.wireguard.allowed_ips import AllowedIPs
from tunflow.protocols.wireguard.cookies import CookieGuard
from tunflow.protocols.wireguard.handshake import KeyPair, read_initiation_untrusted
from tunflow.protocols.wireguard.load import Load
from tunflow.protocols.wireguard.messages import COOKIE_REPLY, INITIATION, RESPONSE, SIZES, TRANSPORT, CookieReply
from tunflow.protocols.wireguard.peer import Common, Event, Outgoing, Peer
from tunflow.protocols.wireguard.transport import Keypair

_KINDS = {bytes((kind, 0, 0, 0)): kind for kind in (INITIATION, RESPONSE, COOKIE_REPLY, TRANSPORT)}
_TYPE_AND_RECEIVER = itemgetter(slice(8))
_IPV4_HEADER = 20
_IPV6_HEADER = 40


class Interface:
    """See the module."""

    def __init__(
        self, private: bytes, mtu: int, random: Callable[[int], bytes], unix_nanoseconds: Callable[[], int]
    ) -> None:
        """`random` gives that many random bytes; `unix_nanoseconds` the time, for the handshake's timestamp."""
        self.identity = KeyPair.of(private)
        self.peers: dict[bytes, Peer] = {}
        """By public key."""
        self.allowed_ips: AllowedIPs[Peer] = AllowedIPs()
        self.dropped_in = self.dropped_out = 0
        """Datagrams that were nobody's or nothing new; packets that belong to no peer."""
        self._common = Common(self.identity, mtu, random, unix_nanoseconds)
        self._guard = CookieGuard(self.identity.public, random)
        self._load = Load()
        self._packets: list[bytes] = []
        self._heap: list[tuple[float, int, Peer]] = []
        self._number = count()

    def add_peer(
        self,
        public: bytes,
        *,
        preshared: bytes = b"",
        allowed_ips: Iterable[IPv4Network | IPv6Network] = (),
        endpoint: Endpoint | None = None,
        persistent_keepalive: int = 0,
    ) -> Peer:
        """A peer from now on, in place of one with the same key. `endpoint` has a packed host."""
        self.remove_peer(public)
        peer = Peer(self._common, public, preshared, endpoint, persistent_keepalive)
        self.peers[public] = peer
        for network in allowed_ips:
            self.allowed_ips.add(network, peer)
        return peer

    def remove_peer(self, public: bytes) -> None:
        """A peer no more; nothing happens if it is none."""
        peer = self.peers.pop(public, None)
        if peer is not None:
            peer.forget()
            self.allowed_ips.remove(peer)

    @property
    def sessions(self) -> int:
        """Sessions whose keys are held, up to three for a peer."""
        return len(self._common.sessions)

    def start(self, now: float) -> None:
        """Send the first keepalives, where they are wanted."""
        for peer in self.peers.values():
            peer.start(now)
            self._schedule(peer)

    def announce(self, now: float) -> None:
        """Our own address is another one: let the peers hear from it."""
        for peer in self.peers.values():
            peer.announce(now)
            self._schedule(peer)

    def connect(self, peer: Peer, now: float) -> None:
        """Begin a handshake with a peer, without a packet to send."""
        peer.initiate(now)
        self._schedule(peer)

    # Packets out.

    def send_untrusted(self, packets: Sequence[Buffer], now: float) -> None:
        """IP packets, each at most the MTU long; each goes to whom its destination belongs, and else nowhere."""
        find = self.allowed_ips.find
        run: list[Buffer] = []
        whose: Peer | None = None
        last = b""
        for packet in packets:
            version = packet[0] >> 4 if packet else 0
            if version == 4 and len(packet) >= _IPV4_HEADER:
                destination = bytes(packet[16:20])
            elif version == 6 and len(packet) >= _IPV6_HEADER:
                destination = bytes(packet[24:40])
            else:
                self.dropped_out += 1
                continue
            if destination != last:
                peer = find(destination)
                last = destination
                if peer is not whose:
                    self._send_run(whose, run, now)
                    run, whose = [], peer
            run.append(packet)
        self._send_run(whose, run, now)

    def _send_run(self, peer: Peer | None, run: Sequence[Buffer], now: float) -> None:
        if peer is None:
            self.dropped_out += len(run)
        elif run:
            peer.send(run, now)
            self._schedule(peer)

    # Datagrams in.

    def receive_untrusted(self, datagrams: Sequence[bytes], source: Endpoint, now: float) -> None:
        """Datagrams from one place (its host packed). What is not a peer's is dropped without a word."""
        sessions, kinds = self._common.sessions, _KINDS
        for head, run in groupby(datagrams, _TYPE_AND_RECEIVER):
            alike = list(run)
            if kinds.get(head[:4]) == TRANSPORT:
                session = sessions.get(head[4:])
                if session is None:
                    self.dropped_in += len(alike)
                else:
                    self._packets += self._opened_untrusted(*session, alike, source, now)
                    self._schedule(session[0])
                continue
            for datagram in alike:
                try:
                    self._take_handshake_untrusted(datagram, source, now)
                except BadPacket:
                    self.dropped_in += 1

    def _opened_untrusted(
        self, peer: Peer, keypair: Keypair, run: Sequence[bytes], source: Endpoint, now: float
    ) -> list[bytes]:
        """The IP packets, without padding, that come from addresses of the peer's own."""
        find = self.allowed_ips.find
        last = head = b""
        padded = peer.open_all_untrusted(keypair, run, source, now)
        self.dropped_in += len(run) - len(padded)
        packets = []
        full = -1
        for packet in padded:
            size = len(packet)
            if size == full and packet[:4] == head and packet[12:16] == last:
                packets.append(packet)  # IPv4, as long and from where the one before was
                continue
            version = packet[0] >> 4 if size else 0
            if version == 4 and size >= _IPV4_HEADER:
                length = packet[2] << 8 | packet[3]
                origin = packet[12:16]
                least = _IPV4_HEADER
            elif version == 6 and size >= _IPV6_HEADER:
                length = (packet[4] << 8 | packet[5]) + _IPV6_HEADER
                origin = packet[8:24]
                least = _IPV6_HEADER
            else:
                self.dropped_in += bool(size)  # a keepalive has nothing in it
                continue
            if not least <= length <= size or (origin != last and find(origin) is not peer):
                self.dropped_in += 1
                continue
            last = origin
            if version == 4 and length == size:
                head, full = packet[:4], size
            else:
                full = -1
            packets.append(packet if length == size else packet[:length])
        return packets

    def _take_handshake_untrusted(self, datagram: bytes, source: Endpoint, now: float) -> None:
        kind = _KINDS.get(datagram[:4])
        if kind is None or len(datagram) != SIZES[kind]:
            raise BadPacket("no message of WireGuard's")
        if kind == COOKIE_REPLY:
            reply = CookieReply.unpack_untrusted(datagram)
            self._waiting_untrusted(reply.receiver).take_cookie_untrusted(reply, now)
            return
        if not self._guard.has_mac1(datagram):
            raise BadPacket("a message of somebody who does not know us")
        self._load.count(now)
        if self._load.is_high(now):
            if not self._guard.has_mac2(datagram, source, now):
                self._common.outgoing.append(Outgoing(source, [self._guard.reply(datagram, source, now)], None))
                return
            if not self._load.allows(source.host, now):
                raise BadPacket("too many handshakes from one address")
        if kind == RESPONSE:
            peer = self._waiting_untrusted(int.from_bytes(datagram[8:12], "little"))
            peer.take_response_untrusted(datagram, source, now)
        else:
            opened = read_initiation_untrusted(self.identity, datagram)
            found = self.peers.get(opened.public)
            if found is None:
                raise BadPacket("an initiation of no peer")
            peer = found
            peer.take_initiation(opened, source, now)
        self._schedule(peer)

    def _waiting_untrusted(self, index: int) -> Peer:
        peer = self._common.pending.get(index)
        if peer is None:
            raise BadPacket("an answer to nothing that was asked")
        return peer

    # Time.

    def next_timeout(self) -> float | None:
        """When `handle_timeout` wants to be called; None while nothing is pending."""
        heap = self._heap
        while heap and heap[0][0] > heap[0][2].scheduled:
            heapq.heappop(heap)  # a later entry than the one that counts
        return heap[0][0] if heap else None

    def handle_timeout(self, now: float) -> None:
        """Do what fell due at or before `now`."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            when, _, peer = heapq.heappop(heap)
            if when != peer.scheduled:
                continue
            peer.scheduled = float("inf")
            try:
                if peer.timers.next <= now:
                    peer.handle_timeout(now)
            finally:
                self._schedule(peer)

    def _schedule(self, peer: Peer) -> None:
        """A timer that was put off is found out when the earlier time comes; only a sooner one is a new entry."""
        when = peer.timers.next
        if when < peer.scheduled:
            peer.scheduled = when
            heapq.heappush(self._heap, (when, next(self._number), peer))

    # Output.

    def drain_packets(self) -> list[bytes]:
        """IP packets that came, since the last call."""
        packets, self._packets = self._packets, []
        return packets

    def drain_datagrams(self) -> list[Outgoing]:
        """Datagrams to send, in order."""
        outgoing, self._common.outgoing = self._common.outgoing, []
        return outgoing

    def drain_events(self) -> list[Event]:
        """What happened to peers."""
        events, self._common.events = self._common.events, []
        return events
