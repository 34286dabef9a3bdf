"""Two packet machines and the wire between them, in virtual time.

    pair = Pair(End(client_stack), End(server_stack), Conditions(delay=0.01, loss=0.01))
    pair.run(lambda: done, seconds=60)

The wire is one without offload: what a stack puts out is cut and given its checksums here (`wire.offload`), and what it
receives is a plain packet that nobody vouches for. One step is one round of the driver: packets go in, the owner is
served, ACKs are flushed, packets go out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from tunflow.device import Packet
from tunflow.machine import Timed
from tunflow.testing.clock import Clock
from tunflow.testing.link import Conditions, WireDirection
from tunflow.wire import offload


class PacketMachine(Timed, Protocol):
    """What can stand at the end of a wire: a stack, or a peer written by hand."""

    outgoing: list[Packet]
    """Packets for the wire, each behind a virtio-net header."""

    def receive(self, packets: Sequence[bytes], offset: int, now: float) -> None:
        """Take in a batch; each IP header is at `offset`."""

    def flush(self) -> None:
        """The batch is done."""


class End:
    """One end of the wire: a machine, and `serve`, which does at a time what its owner does in every round."""

    def __init__(self, machine: PacketMachine, serve: Callable[[float], None] | None = None) -> None:
        self.machine = machine
        self.serve = serve


class Pair:
    """`there` leads from the first end to the second, `back` the other way; both begin with the same conditions."""

    def __init__(self, first: End, second: End, conditions: Conditions, seed: int = 0) -> None:
        self.there = WireDirection(conditions, 2 * seed)
        self.back = WireDirection(conditions, 2 * seed + 1)
        self.clock = Clock((first.machine, second.machine, self.there, self.back))
        self._ends = ((first, self.there, self.back), (second, self.back, self.there))

    @property
    def now(self) -> float:
        """The time at both ends."""
        return self.clock.now

    def run(self, until: Callable[[], bool], seconds: float) -> bool:
        """Go from event to event until the condition holds or so much time passed. Return True if it holds."""
        limit = self.now + seconds
        self.settle()
        while not until():
            if not self.clock.jump(limit):
                return until()
            self.settle()
        return True

    def wait(self, seconds: float) -> None:
        """Let time pass, with all that happens in it."""
        self.run(lambda: False, seconds)

    def settle(self) -> None:
        """One round at each end, without time passing: call it after doing anything to a machine."""
        now = self.now
        for end, outward, inward in self._ends:
            machine = end.machine
            arrived = inward.take()
            if outward.answers:
                arrived += outward.answers
                outward.answers = []
            if arrived:
                machine.receive(arrived, 0, now)
            if end.serve is not None:
                end.serve(now)
            machine.flush()
            outgoing, machine.outgoing = machine.outgoing, []
            for packet in outgoing:
                for plain in offload.segment(packet):
                    outward.send(b"".join(plain), now)
