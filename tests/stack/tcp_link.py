"""Two stacks with a bad wire between them, in virtual time. Deterministic for a seed."""

from __future__ import annotations

import random
from heapq import heappop, heappush
from itertools import count

from tunflow.endpoint import endpoint
from tunflow.stack.stack import Stack
from tunflow.wire import offload

CLIENT = endpoint("198.18.0.1", 40000)
TARGET = endpoint("192.0.2.80", 80)


class Link:
    """Packets of one stack reach the other, cut and with checksums, after `delay`, unless `lose` says no."""

    def __init__(self, seed=0, delay=0.01, loss=0.0, jitter=0.0, repeat=0.0, rate=None, queue=100, mtu=1500, lose=None):
        self.random = random.Random(seed)
        self.delay, self.loss, self.jitter, self.repeat, self.rate, self.queue = (
            delay,
            loss,
            jitter,
            repeat,
            rate,
            queue,
        )
        self.lose = lose
        self.stacks = [Stack(mtu, b"one"), Stack(mtu, b"two")]
        self.now = 1.0
        self.free_at = [0.0, 0.0]
        self.packets = self.lost = 0
        self._wire = []
        self._order = count()

    def open(self):
        """A connection from the first stack to the second, and its peer there."""
        connection = self.stacks[0].connect(CLIENT, TARGET, self.now)
        while not self.stacks[1].requests:
            self.step()
        peer = self.stacks[1].requests.pop()
        peer.accept(self.now)
        while not (connection.open and peer.open):
            self.step()
        return connection, peer

    def collect(self):
        for side, stack in enumerate(self.stacks):
            stack.flush()
            packets, stack.outgoing = stack.outgoing, []
            for packet in packets:
                for plain in offload.segment(packet):
                    self._carry(side, b"".join(plain))

    def _carry(self, side, packet):
        self.packets += 1
        if self.random.random() < self.loss or (self.lose is not None and self.lose(side, packet, self.packets)):
            self.lost += 1
            return
        leaves = self.now
        if self.rate is not None:
            wait = max(0.0, self.free_at[side] - self.now)
            if wait * self.rate > self.queue * 1500:
                self.lost += 1
                return
            leaves = max(self.now, self.free_at[side]) + len(packet) / self.rate
            self.free_at[side] = leaves
        for _ in range(1 + (self.random.random() < self.repeat)):
            at = leaves + self.delay + self.random.random() * self.jitter
            heappush(self._wire, (at, next(self._order), 1 - side, packet))

    def step(self):
        """Go on to the next thing that happens."""
        self.collect()
        due = [stack.next_timeout() for stack in self.stacks] + [self._wire[0][0] if self._wire else None]
        self.now = max(self.now, min(when for when in due if when is not None))
        for stack in self.stacks:
            stack.handle_timeout(self.now)
        while self._wire and self._wire[0][0] <= self.now:
            _, _, side, packet = heappop(self._wire)
            self.stacks[side].receive([packet], 0, self.now)
            self.stacks[side].flush()


def transfer(link, size, limit=600.0):
    """Carry `size` bytes from the first stack to the second; the seconds that took. Checks every byte."""
    connection, peer = link.open()
    block = bytes(i * 7 % 251 for i in range(50_200))
    text = (block * (size // len(block) + 1))[:size]
    start = link.now
    sent = 0
    got = bytearray()
    while not peer.at_eof:
        room = connection.send_room
        if room > 0 and sent < size:
            connection.send([text[sent : sent + min(room, 60_000)]], link.now)
            sent += min(room, 60_000, size - sent)
            if sent == size:
                connection.close_write(link.now)
        link.step()
        got += b"".join(peer.take(1 << 20))
        assert link.now - start < limit, f"stuck at {len(got)}: {connection.state}"
        assert not connection.closed or peer.at_eof, "ended early"
    assert got == text
    return link.now - start
