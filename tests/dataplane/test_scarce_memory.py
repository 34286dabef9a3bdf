"""Whoever owns a connection goes on when others give memory back, whether the client had all by then or not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from test_conduit_relay import Bench as ConduitBench
from test_tcp_relay import Bench as SocketBench

from tunflow.dataplane.statistics import Statistics
from tunflow.dns.messages import frame
from tunflow.dns.questions import question
from tunflow.flow import FlowInfo
from tunflow.loop.reactor import Reactor
from tunflow.loop.stack_round import serve_changed
from tunflow.names.queries import StreamQueries
from tunflow.stack.budget import MemoryBudget
from tunflow.stack.stack import Stack
from tunflow.testing.packet_script import ScriptedClient
from tunflow.wire.tcp import ACK, PSH, Options

LIMIT = 8 << 20
SIZE = 200_000
"""Bytes for the client: less than half of what a connection may hold."""


class OverSocket(SocketBench):
    """A flow whose far side is a socket."""

    def stand(self):
        self.establish()

    def say(self, data):
        self.far.sendall(data)


class OverConduit(ConduitBench):
    """A flow whose far side is a stream of a session."""

    def stand(self):
        self.stands()

    def say(self, data):
        self.far.says(data)


@pytest.fixture(params=[OverSocket, OverConduit])
def bench(request):
    made = request.param()
    made.stack.budget = MemoryBudget(LIMIT)
    made.stand()
    yield made
    made.close()


def arrived(bench):
    """Bytes that the client was sent."""
    return sum(len(segment.payload) for segment in bench.answers())


def rounds(bench):
    for _ in range(5):
        bench.reactor.run_once(0.01)


def test_a_flow_that_holds_nothing_goes_on_once_there_is_memory(bench):
    bench.stack.budget.used += LIMIT
    bench.say(bytes(1000))
    rounds(bench)
    assert arrived(bench) == 0
    bench.stack.budget.used -= LIMIT
    rounds(bench)
    assert arrived(bench) == 1000


def test_a_flow_goes_on_whose_last_acknowledgment_comes_when_there_is_memory_again(bench):
    others = 27 * LIMIT // 32
    bench.stack.budget.used += others
    bench.say(bytes(SIZE))
    rounds(bench)
    got = arrived(bench)
    assert 0 < got < 65536  # what the client's window takes: it is not what the flow waits for
    bench.stack.budget.used -= others
    while got < SIZE:
        bench.send(ACK, seq=1, ack=1 + got, window=512)
        rounds(bench)
        more = arrived(bench)
        assert more, f"it stands still at {got}"
        got += more


def test_an_answer_to_a_query_over_tcp_goes_out_once_there_is_memory():
    stack = Stack(1500, b"secret", budget=MemoryBudget(LIMIT))
    client = ScriptedClient(stack, target_port=53)
    client.establish(options=Options(mss=1460))
    replies = []
    names = SimpleNamespace(query=lambda query, flow, reply, gone: replies.append(reply))
    reactor = Reactor()
    plane = SimpleNamespace(reactor=reactor, statistics=Statistics(), stack=stack)
    connection = client.connection
    connection.user = StreamQueries(
        names, plane, connection, FlowInfo("tcp", connection.client, connection.target, None)
    )
    client.send(ACK | PSH, seq=1, ack=1, payload=frame(question("www.example.org", 1)))
    serve_changed(stack.changed, reactor)
    stack.changed.clear()
    client.receive()
    stack.budget.used += LIMIT
    replies[0](bytes(300))
    assert client.receive() == []
    stack.budget.used -= LIMIT
    stack.wake_starved()
    serve_changed(stack.changed, reactor)
    assert [len(segment.payload) for segment in client.receive()] == [302]
    reactor.close()
