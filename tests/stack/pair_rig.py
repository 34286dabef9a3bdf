"""Two of our stacks, the wire between them, and the flows that tests open over it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tunflow.endpoint import Endpoint, endpoint
from tunflow.stack.stack import Stack
from tunflow.stack.tcp.connection import Connection
from tunflow.testing.link import Conditions
from tunflow.testing.owner import Owner, Owners
from tunflow.testing.pair import End, Pair
from tunflow.testing.stream import Stream

ADDRESSES = (("198.18.0.1", "198.18.0.2"), ("fd00::1", "fd00::2"))
PORT = 80

_STREAMS = [Stream(number) for number in range(16)]


@dataclass
class Flow:
    """One connection: `opener` is the owner who asked, `answerer` the other one once there is one."""

    opener: Owner
    sends: tuple[Stream, Stream]
    fate: str = "accept"
    """What the other side does when it is asked: "accept", "refuse", or "hold" until later."""
    held: Connection | None = None
    """The connection that the other side has not decided about."""
    answerer: Owner | None = None
    refused: bool = False

    @property
    def owners(self) -> list[Owner]:
        return [self.opener] if self.answerer is None else [self.opener, self.answerer]

    @property
    def complete(self) -> bool:
        """Whether every byte and both ends of stream arrived."""
        return self.answerer is not None and self.opener.saw_end and self.answerer.saw_end


@dataclass
class Rig:
    """`pair`, and the `flows` over it."""

    conditions: Conditions
    seed: int = 0
    mtu: int = 1500
    version: int = 4
    flows: list[Flow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stacks = tuple(Stack(self.mtu, secret) for secret in (b"first", b"second"))
        ends = [End(stack, Owners(stack, self._asked).serve) for stack in self.stacks]
        self.pair = Pair(ends[0], ends[1], self.conditions, self.seed)
        self._waiting: dict[tuple[Endpoint, Endpoint], Flow] = {}

    def connect(self, side: int = 0, fate: str = "accept") -> Flow:
        """The stack of that side opens a connection to the other, whose `fate` is given."""
        hosts = ADDRESSES[self.version == 6]
        number = len(self.flows)
        source = endpoint(hosts[side], 40000 + number)
        target = endpoint(hosts[1 - side], PORT)
        streams = _STREAMS[2 * number % 16], _STREAMS[(2 * number + 1) % 16]
        connection = self.stacks[side].connect(source, target, self.pair.now)
        flow = Flow(Owner(connection, *streams), streams, fate)
        self._waiting[source, target] = flow
        self.flows.append(flow)
        self.pair.settle()
        return flow

    def decide(self, flow: Flow, fate: str) -> None:
        """The other side decides about a connection that it holds."""
        connection, flow.held = flow.held, None
        if connection is not None and not connection.closed:
            flow.fate = fate
            self._carry_out(flow, connection, self.pair.now)
            self.pair.settle()

    def serve(self, owner: Owner) -> None:
        """Let an owner do what it was told, and what follows at this moment."""
        owner.serve(self.pair.now)
        self.pair.settle()

    def transfer(self, owner: Owner, size: int) -> None:
        """Let an owner send that much more."""
        owner.to_send += size
        self.serve(owner)

    def close(self, owner: Owner) -> None:
        """Let an owner end its stream behind what it sends."""
        owner.closes = True
        self.serve(owner)

    @property
    def at_rest(self) -> bool:
        """Whether both stacks have forgotten every connection (TIME-WAIT not counted)."""
        if any(stack.connections for stack in self.stacks):
            return False
        assert all(stack.budget.used == 0 for stack in self.stacks), "bytes that nobody holds are counted"
        return True

    def _asked(self, connection: Connection, now: float) -> None:
        flow = self._waiting[connection.client, connection.target]
        if flow.answerer is not None or flow.refused:
            connection.reject(reset=True)  # a late copy of a SYN whose connection is over
        else:
            self._carry_out(flow, connection, now)

    def _carry_out(self, flow: Flow, connection: Connection, now: float) -> None:
        if flow.fate == "hold":
            flow.held = connection
        elif flow.fate == "refuse":
            flow.refused = True
            connection.reject(reset=True)
        else:
            flow.answerer = Owner(connection, *reversed(flow.sends))
            connection.accept(now)
