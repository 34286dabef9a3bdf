"""The stack under any packets and any sequence of operations by its owner.

The invariant: nothing raises; what is buffered stays within the limits; what leaves is well-formed (it can be cut and
its checksums are right); no owner waits for room in vain; a stack that is left alone long enough forgets everything.
An input of odd length meets a stack whose memory is scarce.
"""

from __future__ import annotations

from itertools import pairwise

from tunflow.errors import LocalError
from tunflow.stack.budget import MemoryBudget
from tunflow.stack.icmp import Reason
from tunflow.stack.stack import RECEIVE_LIMIT, SEND_LIMIT, Stack
from tunflow.stack.tcp.connection import Connection
from tunflow.testing.packet_script import ScriptedClient
from tunflow.wire import offload, tcp

_FLAGS = (tcp.SYN, tcp.ACK, tcp.ACK | tcp.PSH, tcp.ACK | tcp.FIN, tcp.RST, tcp.RST | tcp.ACK, tcp.SYN | tcp.ACK, 0)

MEMORY = 1 << 18
"""Bytes, where it is scarce."""


class _Run:
    """One stack, four clients, and an owner who does as the input says."""

    def __init__(self, data: bytes) -> None:
        self.stack = Stack(1500, b"fuzz", budget=MemoryBudget(MEMORY) if len(data) % 2 else None)
        self.others = 0
        """Bytes of the budget that others hold."""
        self.waiting: set[Connection] = set()
        """Those whose owners filled all the room that there was, and were not told of more."""
        self.data = data
        self.at = 0
        self.now = 1000.0
        self.connections: list[Connection] = []
        self.clients = [
            ScriptedClient(self.stack, source, target, source_port=1000 + number)
            for number, (source, target) in enumerate(
                (
                    ("198.18.0.1", "192.0.2.80"),
                    ("198.18.0.1", "192.0.2.80"),
                    ("fd00::1", "2001:db8::1"),
                    ("198.18.0.1", "192.0.2.81"),
                )
            )
        ]

    def byte(self) -> int:
        if self.at >= len(self.data):
            return 0
        self.at += 1
        return self.data[self.at - 1]

    def signed(self) -> int:
        """A number near one of those that matter to the first connection, or a small one."""
        choice, offset = self.byte(), self.byte() - 128
        base = (0, 1, 1460, RECEIVE_LIMIT, 1 << 31)[choice % 5]
        if self.connections and choice & 0x40:
            connection = self.connections[choice % len(self.connections)]
            base = connection.receiver.next - self.clients[0].isn
        return base + offset

    def acked(self) -> int:
        choice = self.byte()
        if self.connections and choice & 1:
            sender = self.connections[choice % len(self.connections)].sender
            return (sender.una, sender.next)[choice >> 1 & 1] + (choice >> 2) - 8
        return choice

    def operate(self) -> None:
        operation = self.byte() % 14
        stack = self.stack
        if operation <= 1 and self.connections:
            self.go_on(self.connections[self.byte() % len(self.connections)])
        elif operation <= 4:
            client = self.clients[self.byte() % len(self.clients)]
            client.stack_isn = 0
            flags = _FLAGS[self.byte() % len(_FLAGS)]
            payload = bytes(self.byte() * 16) if operation > 2 else b""
            options = self.options(flags)
            window = self.byte() << 8
            packet = client.packet(
                flags, seq=self.signed(), ack=self.acked(), payload=payload, window=window,
                options=options,
            )  # fmt: skip
            stack.receive([packet], 0, self.now)
        elif operation == 5:
            size = self.byte()
            raw, self.at = self.data[self.at : self.at + size], self.at + size
            stack.receive([raw], 10 if size & 1 and len(raw) > 10 else 0, self.now)
        elif operation == 6:
            self.now += self.byte() ** 2 / 8
            stack.handle_timeout(self.now)
        elif operation == 12:
            self.connect(self.clients[self.byte() % len(self.clients)])
        elif self.connections and operation == 13:
            self.report(self.connections[self.byte() % len(self.connections)])
        elif self.connections:
            self.act(self.connections[self.byte() % len(self.connections)], operation)
        self.connections += stack.requests
        stack.requests.clear()
        stack.wake_starved()
        for connection in stack.changed:
            connection.notified = False
            self.waiting.discard(connection)
        stack.changed.clear()
        stack.flush()

    def options(self, flags: int) -> tcp.Options:
        """What a client may say, and what it should not."""
        choice = self.byte()
        timestamps = (self.byte() << (choice >> 4), self.byte()) if choice & 1 else None
        if flags & tcp.SYN:
            return tcp.Options(self.byte() * 8 or None, self.byte() % 16, bool(choice & 2), (), timestamps)
        if not choice & 2 or not self.connections:
            return tcp.Options(timestamps=timestamps)
        sender = self.connections[choice % len(self.connections)].sender
        edges = [(sender.una + (self.byte() << (choice >> 5))) & 0xFFFFFFFF for _ in range(2 + (choice >> 1 & 4))]
        return tcp.Options(timestamps=timestamps, sack=tuple(zip(edges[::2], edges[1::2], strict=True)))

    def connect(self, client: ScriptedClient) -> None:
        """The stack opens the connection; its first segment is what a real answer would be, or is not."""
        try:
            connection = self.stack.connect(client.target, client.source, self.now)
        except LocalError:
            return
        self.connections.append(connection)
        if self.byte() & 1:
            client.stack_isn = 0
            options = self.options(tcp.SYN)
            flags = tcp.SYN | (tcp.ACK if self.byte() & 1 else 0)
            packet = client.packet(flags, seq=0, ack=connection.sender.next, window=self.byte() << 8, options=options)
            self.stack.receive([packet], 0, self.now)

    def report(self, connection: Connection) -> None:
        """An ICMP error that quotes the connection."""
        seq = (connection.sender.una + self.byte() - 8) & 0xFFFFFFFF
        where = (connection.client, connection.target, seq)
        if self.byte() & 1:
            self.stack.path_mtu(*where, self.byte() * 8, self.now)
        else:
            self.stack.unreachable_reported(*where, list(Reason)[self.byte() % len(Reason)], self.now)

    def go_on(self, connection: Connection) -> None:
        """The segment that a well-behaved client would send next."""
        client = next(c for c in self.clients if (c.source, c.target) == (connection.client, connection.target))
        client.stack_isn = 0
        choice = self.byte()
        ack = (connection.sender.next, connection.sender.una)[choice >> 7]
        seq = connection.receiver.next - client.isn
        flags = tcp.ACK | (tcp.FIN if choice & 0x1F == 0x1F else 0)
        stamps = connection.output.timestamps
        options = tcp.NO_OPTIONS if stamps is None else tcp.Options(timestamps=(stamps.recent, stamps.value(self.now)))
        packet = client.packet(
            flags, seq=seq, ack=ack, payload=bytes((choice & 0x60) << 4), window=self.byte() << 8, options=options
        )
        self.stack.receive([packet], 0, self.now)

    def act(self, connection: Connection, operation: int) -> None:
        if operation == 7:
            if connection.state.name == "SYN_HELD":
                connection.accept(self.now)
        elif operation == 8:
            room = connection.send_room
            size = min(self.byte() << 8, max(0, room))
            if not connection.sender.fin_queued:  # behind its end an owner sends nothing
                connection.send([bytes(size)], self.now)
                if size >= room:
                    self.waiting.add(connection)
        elif operation == 9:
            connection.take(self.byte() << 8)
        elif operation == 10:
            connection.close_write(self.now)
            self.waiting.discard(connection)
        elif self.byte() % 4 == 0:
            connection.abort()
        elif connection.state.name == "SYN_HELD":
            self.stack.unreachable(connection.syn, Reason.HOST, self.now)
        else:
            self.stack.budget.used -= self.others
            self.others = 0 if self.others else max(0, MEMORY - self.stack.budget.used - (self.byte() << 4))
            self.stack.budget.used += self.others

    def check(self) -> None:
        stack = self.stack
        for packet in stack.outgoing:
            for plain in offload.segment(packet):
                assert 20 <= sum(map(len, plain)) <= 1500
        stack.outgoing.clear()
        held = self.others
        for connection in self.connections:
            receiver, sender = connection.receiver, connection.sender
            waiting = receiver.queued + sum(len(early) for _, _, early in receiver.early or ())
            assert waiting <= RECEIVE_LIMIT
            held += waiting + sender.held
            assert sum(map(len, receiver.pieces)) == receiver.queued
            assert sender.una <= sender.next
            assert sender.room <= SEND_LIMIT
            assert not connection.closed or not sender.flight
            assert sum(segment.end - segment.start for segment in sender.flight) == (
                0 if connection.closed else sender.next - sender.una
            )
            assert all(one.end == two.start for one, two in pairwise(sender.flight))
            for segment in sender.flight:
                assert sum(map(len, segment.pieces)) == segment.size
            assert sender.losses is None or sender.losses.pipe >= 0
        assert stack.budget.used == held
        for connection in self.waiting:  # for room: somebody will tell
            assert connection.sender.held or connection.closed or connection in stack.starved


def one_input(data: bytes) -> None:
    """Run the operations that `data` spells, checking after each; then let everything time out."""
    run = _Run(data[:4096])
    while run.at < len(run.data):
        run.operate()
        run.check()
    run.stack.budget.used -= run.others
    for connection in run.connections:
        if connection.state.name == "SYN_HELD":
            connection.reject(reset=False)
        else:
            if not connection.closed:
                connection.take(RECEIVE_LIMIT)
                connection.close_write(run.now)
            connection.abandon(run.now)
    for _ in range(2000):
        due = run.stack.next_timeout()
        if due is None:
            break
        run.now = max(run.now, due)
        run.stack.handle_timeout(run.now)
        run.stack.outgoing.clear()
    assert run.stack.connections == 0, "a connection that nobody owns never ends"
    assert run.stack.budget.used == 0, "bytes that nobody holds are counted"


SEEDS: list[bytes] = [
    bytes((0, 0, 0, 0, 128, 0, 180, 7, 255, 7, 0, 0, 0, 1, 1, 129, 3, 255, 8, 0, 200, 9, 0, 255, 10, 0)),
    bytes(range(256)),
    bytes((12, 0, 1, 3, 9, 0, 180, 7, 1, 255, 8, 0, 200, 8, 0, 200, 2, 0, 1, 10, 0, 4, 0, 13, 0, 8, 1, 120)),
    bytes((2, 0, 0, 3, 9, 0, 180, 7, 255, 0, 128, 0, 7, 0, 1, 0, 0, 255, 8, 0, 255, 2, 0, 1, 42, 5, 9, 5, 9)),
    bytes((0, 2, 0, 0, 128, 0, 180, 7, 255, 7, 0)) * 8,
]
