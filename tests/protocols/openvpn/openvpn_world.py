"""A client and a server of ours on a wire in virtual time, which may lose, double, delay and spoil what it carries."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any

from openvpn_pki import EPOCH, authority

from tunflow.protocols.openvpn.client import OpenVPNClient
from tunflow.protocols.openvpn.events import Connected, Ended, Event
from tunflow.protocols.openvpn.server import OpenVPNServerMachine
from tunflow.protocols.openvpn.server_session import Caller
from tunflow.protocols.openvpn.settings import OpenVPNSettings, Remote, ServerPart
from tunflow.protocols.openvpn.tls import Demands
from tunflow.protocols.openvpn.tunnel_options import TunnelOptions

START = 1000.0
DELAY = 0.02
INSIDE = bytes([10, 8, 0, 1])
Source = str


def client_settings(**changes: Any) -> OpenVPNSettings:
    settings = OpenVPNSettings(
        name="client.ovpn",
        remotes=(Remote("192.0.2.1"),),
        identity=authority().identity("client", "client"),
        demands=Demands(usage="server"),
    )
    return replace(settings, **changes)


def server_settings(**changes: Any) -> OpenVPNSettings:
    part = ServerPart(network="10.8.0.0/24", pushed=("redirect-gateway def1", "dhcp-option DNS 10.8.0.1"))
    settings = OpenVPNSettings(
        name="server.conf",
        identity=authority().identity("server", "server"),
        demands=Demands(usage="client"),
        tunnel=TunnelOptions(ping=10, ping_restart=60),
        server=part,
    )
    return replace(settings, **changes)


def packet(source: bytes, destination: bytes, payload: bytes) -> bytes:
    """What looks enough like an IPv4 packet."""
    return b"\x45\0" + (20 + len(payload)).to_bytes(2, "big") + bytes(8) + source + destination + payload


class World:
    """See the module. `inside` has what came out of the tunnel at the server, `outside` what came out at the client."""

    def __init__(
        self,
        client: OpenVPNSettings | None = None,
        server: OpenVPNSettings | None = None,
        *,
        seed: int = 1,
        loss: float = 0.0,
        jitter: float = 0.0,
        double: float = 0.0,
        knows: Callable[[Caller], bool] = lambda _: True,
        unix: float = EPOCH,
    ) -> None:
        self.now = START
        self.rng = random.Random(seed)
        self.loss, self.jitter, self.double = loss, jitter, double
        self.spoil: Callable[[bytes, bool], bytes | None] = lambda data, to_server: data
        """What the wire makes of a datagram; None loses it."""
        self.unix_offset = unix - START
        self.server: OpenVPNServerMachine[Source] = OpenVPNServerMachine(
            server or server_settings(),
            self.now,
            unix_offset=EPOCH - START,
            random_bytes=self.rng.randbytes,
            knows=knows,
        )
        self.source = "client:1"
        self.events: list[Event] = []
        self.inside: list[bytes] = []
        self.outside: list[bytes] = []
        self.carried: list[tuple[bytes, bool]] = []
        """Everything that was put on the wire, and whether it went to the server."""
        self._wire: list[tuple[float, int, bytes, bool, Source]] = []
        self._order = count()
        self.client = self.connect(client or client_settings())

    def connect(self, settings: OpenVPNSettings) -> OpenVPNClient:
        """Another attempt of the client's."""
        self.client = OpenVPNClient(
            settings, settings.remotes[0], self.now, unix_offset=self.unix_offset, random_bytes=self.rng.randbytes
        )
        self.drain()
        return self.client

    @property
    def connected(self) -> Connected:
        return next(event for event in self.events if isinstance(event, Connected))

    @property
    def ended(self) -> Ended | None:
        return next((event for event in self.events if isinstance(event, Ended)), None)

    @property
    def address(self) -> bytes:
        options = self.connected.options
        assert options.local4 is not None
        return options.local4.packed

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass."""
        end = self.now + seconds
        for _ in range(3_000_000):
            if until():
                return
            timers = [self.client.next_timeout(), self.server.next_timeout()]
            due = min([self._wire[0][0] if self._wire else inf, *(each for each in timers if each is not None)])
            if due > end:
                self.now = end
                return
            self.now = max(self.now, due)
            self._deliver()
            for machine in (self.client, self.server):
                when = machine.next_timeout()
                if when is not None and when <= self.now:
                    machine.handle_timeout(self.now)
            self.drain()
        raise AssertionError("time does not pass")

    def until_connected(self, seconds: float = 90.0) -> None:
        self.run(seconds, lambda: bool(self.events))
        assert isinstance(self.events[0], Connected), self.events

    def send(self, payload: bytes) -> None:
        """The client's program sends a packet to the server's inner address."""
        for datagram in self.client.seal([packet(self.address, INSIDE, payload)], self.now):
            self._put(datagram, True, self.source)
        self.drain()

    def reply(self, payload: bytes) -> None:
        """The server's program sends a packet to the client's inner address."""
        self.server.send([packet(INSIDE, self.address, payload)], self.now)
        self.drain()

    def inject(self, data: bytes, to_server: bool, source: Source = "stranger:1") -> None:
        """A datagram out of nowhere."""
        heappush(self._wire, (self.now, next(self._order), data, to_server, source))

    def _put(self, data: bytes, to_server: bool, source: Source) -> None:
        self.carried.append((data, to_server))
        for _ in range(2 if self.rng.random() < self.double else 1):
            changed = self.spoil(data, to_server)
            if changed is None or self.rng.random() < self.loss:
                continue
            at = self.now + DELAY + self.rng.random() * self.jitter
            heappush(self._wire, (at, next(self._order), changed, to_server, source))

    def _deliver(self) -> None:
        while self._wire and self._wire[0][0] <= self.now:
            _, _, data, to_server, source = heappop(self._wire)
            if to_server:
                self.inside += self.server.receive_untrusted([data], source, self.now)
            elif source == self.source or source.startswith("stranger"):
                self.outside += self.client.receive_untrusted([data], self.now)

    def drain(self) -> None:
        for datagram in self.client.take_output():
            self._put(datagram, True, self.source)
        for batch, source in self.server.take_output():
            for datagram in batch:
                self._put(datagram, False, source)
        self.events += self.client.take_events()
