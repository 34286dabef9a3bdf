"""Every method of a WireGuard server fails once while two peers speak through it: both go on, and the bug is told.

What a bug met is lost, as packets are; nobody's way is lost for good.
"""

from __future__ import annotations

import socket
import time
from base64 import b64encode
from collections import Counter

import pytest

from faults import counted, failing, sites_of
from tunflow.endpoint import endpoint
from tunflow.host.memory import memory_pair
from tunflow.inbound.wireguard_server import WireGuardListener
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.containment import Containment
from tunflow.loop.reactor import Reactor
from tunflow.protocols.wireguard.config_file import parse_config
from tunflow.protocols.wireguard.handshake import KeyPair
from tunflow.protocols.wireguard.interface import Interface

pytestmark = pytest.mark.interpreted  # faults are put into methods, which compiled code calls directly

ROOMS = (
    "tunflow.inbound.wireguard_server",
    "tunflow.protocols.wireguard.allowed_ips",
    "tunflow.protocols.wireguard.interface",
    "tunflow.protocols.wireguard.keypairs",
    "tunflow.protocols.wireguard.load",
    "tunflow.protocols.wireguard.peer",
    "tunflow.protocols.wireguard.transport",
)
MECHANISM = {"cut", "next_timeout", "_wait"}
"""What contains, and what says when to come back: of these only what they call fails."""

HOST = "127.0.0.1"
INSIDE = bytes((10, 7, 0, 1))
NUMBERS = (2, 3)
STEP = 6.0
"""Seconds by which the clock jumps between two questions: more than a handshake is waited for."""


def key(number):
    return bytes((number,)) * 32


def text(value):
    return b64encode(value).decode()


class Clock:
    ahead = 0.0

    def __call__(self):
        return time.monotonic() + self.ahead


class Peer:
    """The other end of WireGuard, on a socket."""

    def __init__(self, number, server):
        address = f"10.7.0.{number}"
        self._server = server
        self._ping = bytes((0x45, 0, 0, 24, *bytes(4), 64, 17, 0, 0)) + socket.inet_aton(address) + INSIDE + b"ping"
        self.heard = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        asked = f"[Interface]\nPrivateKey = {text(key(number))}\nAddress = {address}/24\n"
        asked += f"[Peer]\nPublicKey = {text(KeyPair.of(key(1)).public)}\nAllowedIPs = 10.7.0.1/32\n"
        (peer,) = parse_config(asked, "a peer").peers
        self._ids = 0
        self._interface = Interface(key(number), 1420, self._random, time.time_ns)
        self._interface.add_peer(peer.public_key, allowed_ips=peer.allowed_ips, endpoint=server)

    def _random(self, size):
        self._ids += 1
        return self._ids.to_bytes(4, "little") * (size // 4) + bytes(size % 4)

    def ask(self, now):
        self._interface.send_untrusted([self._ping], now)

    def serve(self, now):
        if (self._interface.next_timeout() or now + 1) <= now:
            self._interface.handle_timeout(now)
        try:
            while True:
                self._interface.receive_untrusted([self._socket.recv(2000)], self._server, now)
        except BlockingIOError:
            pass
        self.heard += len(self._interface.drain_packets())
        for outgoing in self._interface.drain_datagrams():
            for datagram in outgoing.datagrams:
                self._socket.sendto(datagram, (HOST, self._server.port))

    def close(self):
        self._socket.close()


class World:
    """A server, whose host answers each packet, and two peers. `serving` is true while the server has its turn."""

    def __init__(self):
        self.clock = Clock()
        self.serving = False
        self.reactor = Reactor(self.clock)
        self.lines = []
        log = CauseLog(self.lines.append, self.clock)
        self.reactor.containment = Containment(log, lambda: self.reactor.now)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind((HOST, 0))
        self._device, self._card = memory_pair()
        mine = f"[Interface]\nPrivateKey = {text(key(1))}\nAddress = 10.7.0.1/24\n"
        for number in NUMBERS:
            mine += f"[Peer]\nPublicKey = {text(KeyPair.of(key(number)).public)}\nAllowedIPs = 10.7.0.{number}/32\n"
        settings = parse_config(mine, "the server")
        self._listener = WireGuardListener(self.reactor, self._device, self._socket, settings, log)
        where = endpoint(*self._socket.getsockname())
        self.peers = [Peer(number, where) for number in NUMBERS]

    def turn(self):
        self.serving = True
        self.reactor.run_once(0)
        self.serving = False
        for packet in self._card.read(100):
            inner = packet[10:]
            self._card.write([[bytes(10), inner[:12] + inner[16:20] + inner[12:16] + inner[20:]]])
        for peer in self.peers:
            peer.serve(self.clock())

    def speak(self, times):
        """Have each peer ask so many times; how many answers each got."""
        before = [peer.heard for peer in self.peers]
        for _ in range(times):
            for peer in self.peers:
                peer.ask(self.clock())
            for _ in range(4):
                self.turn()
            self.clock.ahead += STEP
        return [peer.heard - was for peer, was in zip(self.peers, before, strict=True)]

    def close(self):
        self._listener.close()
        for each in (self._socket, self._device, self._card, *self.peers):
            each.close()
        self.reactor.close()


@pytest.fixture
def world():
    made = World()
    yield made
    made.close()


def test_each_method_fails_once_and_both_peers_go_on(world):
    calls = Counter()
    with counted(calls, ROOMS, MECHANISM, only=lambda: world.serving):
        assert min(world.speak(40)) >= 35  # with what comes in time only: handshakes anew, keys that expire
    sites = sites_of(calls)
    assert len(sites) > 60, "the load does not reach what it is to reach"
    wrong = []
    failed = 0
    for (kind, name), number in sites:
        what = f"{kind.__name__}.{name}, call {number}"
        errors = world.reactor.internal_errors
        world.lines.clear()
        with failing(kind, name, min(number, 3), only=lambda: world.serving) as has_failed:
            for _ in range(8):
                world.speak(6)
                if has_failed():
                    break
            else:
                continue
        failed += 1
        world.clock.ahead += 70.0
        world.speak(6)
        if (heard := world.speak(2)) != [2, 2]:
            wrong.append(f"{what}: {heard} of 2 answers afterwards")
        if world.reactor.internal_errors == errors:
            wrong.append(f"{what}: not counted")
        if not any("internal error in packets of a WireGuard peer" in line for line in world.lines):
            wrong.append(f"{what}: told as {world.lines}")
    assert not wrong, "\n" + "\n".join(wrong)
    assert failed > 50
