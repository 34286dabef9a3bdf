"""Interfaces on a wire in virtual time: what tests of the whole machine share."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from itertools import count

from tunflow.endpoint import Endpoint, endpoint
from tunflow.protocols.wireguard.interface import Interface
from tunflow.protocols.wireguard.keys import private_key
from tunflow.protocols.wireguard.peer import EventKind

EPOCH = 1_700_000_000 * 10**9
MTU = 1420


def packet(source: str, destination: str, payload: bytes) -> bytes:
    """An IPv4 packet, whose checksum nobody looks at."""
    size = 20 + len(payload)
    addresses = bytes(map(int, f"{source}.{destination}".split(".")))
    return bytes((0x45, 0, size >> 8, size & 255, 0, 0, 0, 0, 64, 17, 0, 0)) + addresses + payload


class World:
    """Interfaces by where they are; datagrams take `delay` seconds unless `wire` says that they are lost."""

    def __init__(self, seed: int = 1) -> None:
        self.now = 0.0
        self.delay = 0.01
        self.random = random.Random(seed)
        self.interfaces: dict[Endpoint, Interface] = {}
        self.received: dict[Interface, list[bytes]] = {}
        self.events: dict[Interface, list[EventKind]] = {}
        self.sent: list[tuple[float, Endpoint, Endpoint, bytes]] = []
        """Every datagram: when, from where, to where."""
        self.wire: Callable[[Endpoint, Endpoint, bytes], bytes | None] = lambda source, to, data: data
        self.clock = EPOCH
        """What clocks showed when `now` was 0, in nanoseconds."""
        self._queue: list[tuple[float, int, Endpoint, Endpoint, bytes]] = []
        self._count = count()

    def interface(self, host: str, port: int = 51820) -> Interface:
        made = Interface(
            private_key(self.random.randbytes(32)),
            MTU,
            self.random.randbytes,
            lambda: self.clock + int(self.now * 10**9),
        )
        self.interfaces[endpoint(host, port)] = made
        self.received[made], self.events[made] = [], []
        return made

    def where(self, interface: Interface) -> Endpoint:
        return next(where for where, each in self.interfaces.items() if each is interface)

    def move(self, interface: Interface, host: str, port: int = 51820) -> None:
        del self.interfaces[self.where(interface)]
        self.interfaces[endpoint(host, port)] = interface

    def forget(self, interface: Interface) -> None:
        """It is switched off, and what was sent so far is of no interest any more."""
        del self.interfaces[self.where(interface)], self.received[interface], self.events[interface]
        self.sent.clear()

    def send(self, interface: Interface, packets: Sequence[bytes]) -> None:
        interface.send_untrusted(packets, self.now)
        self.collect(interface)

    def inject(self, interface: Interface, datagrams: Sequence[bytes], source: Endpoint) -> None:
        interface.receive_untrusted(datagrams, source, self.now)
        self.collect(interface)

    def collect(self, interface: Interface) -> None:
        """Put what it wants to send on the wire."""
        source = self.where(interface)
        for outgoing in interface.drain_datagrams():
            for data in map(bytes, outgoing.datagrams):
                self.sent.append((self.now, source, outgoing.to, data))
                carried = self.wire(source, outgoing.to, data)
                if carried is not None:
                    entry = (self.now + self.delay, next(self._count), source, outgoing.to, carried)
                    heapq.heappush(self._queue, entry)
        self.received[interface] += map(bytes, interface.drain_packets())
        self.events[interface] += [event.kind for event in interface.drain_events()]

    def repeat(self, source: Endpoint, to: Endpoint, data: bytes, after: float) -> None:
        """Have a datagram arrive, also once more."""
        heapq.heappush(self._queue, (self.now + after, next(self._count), source, to, data))

    @property
    def under_way(self) -> int:
        """Datagrams on the wire."""
        return len(self._queue)

    def run(self, until: float) -> None:
        """Let time pass."""
        while True:
            times = [each.next_timeout() for each in self.interfaces.values()]
            timeout = min((when for when in times if when is not None), default=float("inf"))
            arrival = self._queue[0][0] if self._queue else float("inf")
            when = min(timeout, arrival)
            if when > until:
                self.now = until
                return
            self.now = max(self.now, when)
            if arrival <= timeout:
                while self._queue and self._queue[0][0] == arrival:
                    _, _, source, to, data = heapq.heappop(self._queue)
                    if to in self.interfaces:
                        self.inject(self.interfaces[to], [data], source)
                continue
            for interface in list(self.interfaces.values()):
                due = interface.next_timeout()
                if due is not None and due <= self.now:
                    interface.handle_timeout(self.now)
                    self.collect(interface)


def pair(world: World, keepalive: int = 0, preshared: bytes = b"") -> tuple[Interface, Interface]:
    """A client at 192.0.2.1 (10.0.0.2) and a server at 192.0.2.9 (10.0.0.1), which waits for it."""
    client, server = world.interface("192.0.2.1"), world.interface("192.0.2.9")
    client.add_peer(
        server.identity.public,
        preshared=preshared,
        allowed_ips=[ip_network("0.0.0.0/0")],
        endpoint=world.where(server),
        persistent_keepalive=keepalive,
    )
    server.add_peer(client.identity.public, preshared=preshared, allowed_ips=[ip_network("10.0.0.2/32")])
    return client, server


def to_server(payload: bytes = b"up") -> bytes:
    return packet("10.0.0.2", "10.0.0.1", payload)


def to_client(payload: bytes = b"down") -> bytes:
    return packet("10.0.0.1", "10.0.0.2", payload)
