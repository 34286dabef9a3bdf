"""One direction of a bad wire: packets go in at one time and come out at another, or not, or twice, or damaged.

It is a machine (`tunflow.machine`), so it works in virtual time (`testing.pair`) and, given a real clock, between two
real devices. Chance comes from a seed, one stream for each kind of fault: what is done to the n-th packet does not
depend on time, and turning one fault up leaves the others as they were.

A packet passes, in this order: the MTU, a drop-tail queue in front of the rate limit, loss, damage, delay. Jitter alone
keeps the order of packets, as a queue elsewhere would; only `reorder` changes it.

Read first: Gilbert, "Capacity of a burst-noise channel" (1960) and Elliott (1963) for `Bursts`; RFC 1191 §4 and
RFC 4443 §3.2 for the answer to a packet that is too big.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf

from tunflow.wire import icmp, ipv4, ipv6, protocols

ROUTER_V4 = bytes([192, 0, 2, 254])
ROUTER_V6 = bytes.fromhex("20010db8" + "00" * 11 + "fe")
"""Who answers that a packet is too big (addresses of RFC 5737 and RFC 3849)."""

_STREAMS = ("loss", "bursts", "corrupt", "duplicate", "reorder", "jitter")


@dataclass(frozen=True, slots=True)
class Bursts:
    """Loss in bursts, by Gilbert and Elliott's two states. All are probabilities for each packet."""

    begin: float
    """Of going from the good state to the bad one."""
    end: float
    """Of going back: bursts are 1 / `end` packets long on average."""
    loss: float = 1.0
    """Of loss in the bad state."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a wire does to packets; by default nothing. Faults are probabilities for each packet."""

    loss: float = 0.0
    bursts: Bursts | None = None
    corrupt: float = 0.0
    """Of one flipped bit, which every checksum finds (RFC 1071 §1)."""
    duplicate: float = 0.0
    """Of coming out twice, one right behind the other."""
    reorder: float = 0.0
    """Of being overtaken by all that comes within the next `overtaken_for`."""
    overtaken_for: float = 0.005
    """Seconds."""
    delay: float = 0.0
    """Seconds on the way."""
    jitter: float = 0.0
    """Seconds of further delay at most, evenly spread."""
    rate: float = inf
    """Bits per second."""
    buffer: float = inf
    """Bytes that wait for the rate limit, the packet on its way included; what comes on top is dropped."""
    mtu: int = 65535
    """Larger packets are dropped, never fragmented."""
    says_too_big: bool = False
    """True if their sender hears of it by ICMP; else this is a black hole (RFC 2923)."""


@dataclass(slots=True)
class Counts:
    """What became of the packets."""

    sent: int = 0
    delivered: int = 0
    lost: int = 0
    overflowed: int = 0
    too_big: int = 0
    corrupted: int = 0
    duplicated: int = 0
    reordered: int = 0


class WireDirection:
    """One direction of a wire; `conditions` may be changed at any time and hold for packets sent from then on."""

    def __init__(self, conditions: Conditions, seed: int = 0) -> None:
        self.conditions = conditions
        self.counts = Counts()
        self.arrived: list[bytes] = []
        """Packets that came out at the far end, for the caller to take away."""
        self.answers: list[bytes] = []
        """ICMP for the sender, for the caller to take away."""
        self._chance: dict[str, Callable[[], float]] = {
            name: random.Random(f"{seed} {name}").random for name in _STREAMS
        }
        self._in_burst = False
        self._free_at = 0.0
        self._last_arrival = 0.0
        self._way: list[tuple[float, int, bytes]] = []
        self._order = 0

    def send(self, packet: bytes, now: float) -> None:
        """Put a plain IP packet on the wire."""
        conditions, counts = self.conditions, self.counts
        counts.sent += 1
        if len(packet) > conditions.mtu:
            counts.too_big += 1
            if conditions.says_too_big:
                self._answer(packet)
            return
        leaves = self._leaves(len(packet), now)
        if leaves is None:
            counts.overflowed += 1
            return
        if self._loses():
            counts.lost += 1
            return
        if self._happens("corrupt", conditions.corrupt):
            counts.corrupted += 1
            packet = self._flip(packet)
        due = leaves + conditions.delay
        if conditions.jitter:
            due += conditions.jitter * self._chance["jitter"]()
        if self._happens("reorder", conditions.reorder):
            counts.reordered += 1
            due += conditions.overtaken_for
        else:
            due = self._last_arrival = max(due, self._last_arrival)
        self._launch(packet, due)
        if self._happens("duplicate", conditions.duplicate):
            counts.duplicated += 1
            self._launch(packet, due)

    def take(self) -> list[bytes]:
        """The packets that arrived since."""
        arrived, self.arrived = self.arrived, []
        return arrived

    def next_timeout(self) -> float | None:
        """When the next packet arrives."""
        return self._way[0][0] if self._way else None

    def handle_timeout(self, now: float) -> None:
        """Let arrive what is due."""
        way = self._way
        while way and way[0][0] <= now:
            self.arrived.append(heappop(way)[2])
            self.counts.delivered += 1

    def _leaves(self, size: int, now: float) -> float | None:
        """When the last bit of a packet has left; None when the queue has no room for it."""
        rate = self.conditions.rate
        if rate == inf:
            return now
        start = max(now, self._free_at)
        if (start - now) * rate / 8 + size > self.conditions.buffer:
            return None
        self._free_at = start + size * 8 / rate
        return self._free_at

    def _loses(self) -> bool:
        lost = self._happens("loss", self.conditions.loss)
        bursts = self.conditions.bursts
        if bursts is not None:
            chance = self._chance["bursts"]
            self._in_burst = chance() >= bursts.end if self._in_burst else chance() < bursts.begin
            lost |= self._in_burst and chance() < bursts.loss
        return lost

    def _happens(self, fault: str, probability: float) -> bool:
        return probability > 0 and self._chance[fault]() < probability

    def _flip(self, packet: bytes) -> bytes:
        bit = int(self._chance["corrupt"]() * len(packet) * 8)
        damaged = bytearray(packet)
        damaged[bit >> 3] ^= 1 << (bit & 7)
        return bytes(damaged)

    def _launch(self, packet: bytes, due: float) -> None:
        self._order += 1
        heappush(self._way, (due, self._order, packet))

    def _answer(self, packet: bytes) -> None:
        message = icmp.PacketTooBig(self.conditions.mtu, packet)
        if packet[0] >> 4 == 4:
            source, body = packet[12:16], icmp.build_v4(message)
            self.answers.append(ipv4.build(ROUTER_V4, source, protocols.ICMP, len(body)) + body)
        else:
            source = packet[8:24]
            body = icmp.build_v6(ROUTER_V6, source, message)
            self.answers.append(ipv6.build(ROUTER_V6, source, protocols.ICMPV6, len(body)) + body)
