"""The memory budget: however many clients send what nobody takes, or take nothing, it holds, and all go on."""

from __future__ import annotations

import pytest
from pair_rig import Rig

from tunflow.stack.budget import FLOOR, RESERVE, SHARES, MemoryBudget
from tunflow.stack.stack import Stack
from tunflow.stack.tcp.closing import ABANDONED_TIMEOUT
from tunflow.testing.link import Conditions
from tunflow.testing.packet_script import ScriptedClient
from tunflow.wire.tcp import ACK, FIN, RST, SYN, Options

MEBIBYTE = 1 << 20
OPTIONS = Options(mss=1460, window_scale=7)


def clients_of(stack, count):
    """As many established clients, each with its connection, whose owner never takes anything."""
    made = []
    for number in range(count):
        client = ScriptedClient(stack, source_port=1000 + number)
        client.establish(options=OPTIONS)
        made.append(client)
    return made


def push(client, sent):
    """Send a packet at `sent` if the window allows it; how far it was acknowledged."""
    window = client.connection.receiver.advertised - client.connection.receiver.next
    size = min(1460, window)
    if size > 0:
        client.send(ACK, seq=1 + sent, ack=1, payload=bytes(size))
        client.receive()
    return client.connection.receiver.next - (client.isn + 1)


def test_without_a_limit_everybody_gets_what_they_ask_for():
    budget = MemoryBudget()
    budget.used = 1 << 40
    assert budget.share(256 * 1024) == 256 * 1024
    assert budget.admits


def test_a_share_is_a_sixteenth_of_what_is_free_beside_the_reserve_and_never_below_the_floor():
    budget = MemoryBudget(4 * MEBIBYTE)
    assert budget.share(MEBIBYTE) == (4 * MEBIBYTE - 4 * MEBIBYTE // RESERVE) // SHARES
    assert budget.share(1000) == 1000
    budget.used = 4 * MEBIBYTE - FLOOR
    assert budget.share(MEBIBYTE) == FLOOR
    budget.used = 4 * MEBIBYTE
    assert budget.share(MEBIBYTE) == 0


def test_what_nobody_takes_stays_within_the_limit_and_windows_open_again():
    budget = MemoryBudget(MEBIBYTE)
    stack = Stack(1500, b"secret", budget=budget)
    clients = clients_of(stack, 100)
    sent = [0] * len(clients)
    for _ in range(200):
        for number, client in enumerate(clients):
            sent[number] = push(client, sent[number])
        assert budget.used <= budget.limit
    assert budget.used > budget.limit / 2
    assert all(size >= 1460 for size in sent), "somebody got nothing"
    for client in clients:
        client.connection.take(MEBIBYTE)
        client.receive()
    assert budget.used == 0
    before = list(sent)
    for number, client in enumerate(clients):
        client.send(ACK, seq=sent[number], ack=1)  # a probe of a window that may be closed
        client.receive()
        sent[number] = push(client, sent[number])
    assert all(now > then for now, then in zip(sent, before, strict=True))


def test_bytes_beyond_the_limit_are_dropped_though_they_were_asked_for():
    # RFC 9293 §3.8.6: a window once offered is not taken back; that memory is short looks like a loss.
    budget = MemoryBudget(MEBIBYTE)
    stack = Stack(1500, b"secret", budget=budget)
    (client,) = clients_of(stack, 1)
    budget.used = MEBIBYTE - MEBIBYTE // RESERVE
    for number in range(4):
        client.send(ACK, seq=1 + 1460 * number, ack=1, payload=bytes(1460))
    assert client.connection.readable == FLOOR
    budget.used -= 50_000
    client.send(ACK, seq=1 + FLOOR, ack=1, payload=bytes(1460))
    assert client.connection.readable == FLOOR + 1460
    budget.used = MEBIBYTE
    client.connection.take(MEBIBYTE)
    budget.used = MEBIBYTE - 100
    client.send(ACK, seq=1 + FLOOR + 1460, ack=1, payload=bytes(1460))
    assert client.connection.readable == 100


def test_new_connections_wait_near_the_limit():
    budget = MemoryBudget(MEBIBYTE)
    stack = Stack(1500, b"secret", budget=budget)
    budget.used = MEBIBYTE - MEBIBYTE // RESERVE**2 + 1
    client = ScriptedClient(stack)
    client.send(SYN, seq=0, options=OPTIONS)
    assert (stack.requests, stack.postponed, client.receive()) == ([], 1, [])
    budget.used = 0
    client.send(SYN, seq=0, options=OPTIONS)
    assert len(stack.requests) == 1


@pytest.mark.parametrize("end", ["reset", "abort", "abandon", "read"])
def test_what_a_connection_held_is_free_when_it_is_over(end):
    budget = MemoryBudget(MEBIBYTE)
    stack = Stack(1500, b"secret", budget=budget)
    (client,) = clients_of(stack, 1)
    connection = client.connection
    client.send(ACK, seq=1, ack=1, payload=bytes(1000))
    client.send(ACK, seq=3001, ack=1, payload=bytes(1000))  # early
    connection.send([bytes(5000)], client.now)
    assert budget.used == 7000
    if end == "reset":
        client.send(RST, seq=1001)
    elif end == "abort":
        connection.abort()
    elif end == "abandon":
        connection.abandon(client.now)
    else:
        client.send(ACK, seq=1001, ack=1, payload=bytes(2000))
        connection.take(MEBIBYTE)
        connection.close_write(client.now)
        client.send(ACK, seq=4001, ack=5002)
    assert budget.used == 0


def test_bytes_behind_a_gap_are_free_when_nothing_can_fill_it():
    """Found by fuzzing: each connection that ended so made the budget smaller for good."""
    stack = Stack(1500, b"secret", budget=MemoryBudget(MEBIBYTE))
    abandoned, closed = clients_of(stack, 2)
    abandoned.send(ACK, seq=3001, ack=1, payload=bytes(1000))
    abandoned.connection.abandon(abandoned.now)
    abandoned.send(ACK, seq=1, ack=2)
    assert stack.budget.used == 1000
    abandoned.advance(ABANDONED_TIMEOUT + 1)
    assert (abandoned.connection.closed, stack.budget.used) == (True, 0)
    closed.send(ACK, seq=3001, ack=1, payload=bytes(1000))  # behind its own FIN
    closed.send(ACK | FIN, seq=1, ack=1)
    closed.connection.close_write(closed.now)
    closed.send(ACK, seq=2, ack=2)
    assert (closed.connection.closed, stack.budget.used) == (True, 0)


@pytest.mark.parametrize("end", ["abort", "abandon", "cut", "read"])
def test_what_nobody_took_of_a_connection_that_is_over_is_free_when_its_owner_leaves(end):
    stack = Stack(1500, b"secret", budget=MemoryBudget(MEBIBYTE))
    (client,) = clients_of(stack, 1)
    connection = client.connection
    client.send(ACK | FIN, seq=1, ack=1, payload=bytes(1000))
    connection.close_write(client.now)
    client.send(ACK, seq=1002, ack=2)
    assert (connection.closed, connection.readable, stack.budget.used) == (True, 1000, 1000)
    if end == "read":
        assert sum(map(len, connection.take(MEBIBYTE))) == 1000
        assert connection.at_eof
    elif end == "abandon":
        connection.abandon(client.now)
    else:
        getattr(connection, end)()
    assert stack.budget.used == 0


def test_what_is_sent_when_it_is_over_is_not_kept():
    stack = Stack(1500, b"secret", budget=MemoryBudget(MEBIBYTE))
    (client,) = clients_of(stack, 1)
    client.send(RST, seq=1)
    client.connection.send([bytes(1000)], client.now)
    client.connection.close_write(client.now, [bytes(1000)])
    assert stack.budget.used == 0


def test_many_flows_share_a_small_budget_and_all_arrive():
    rig = Rig(Conditions(delay=0.005, rate=50e6, buffer=1 << 20))
    for stack in rig.stacks:
        stack.budget.__init__(MEBIBYTE)
    flows = [rig.connect() for _ in range(16)]
    for flow in flows:
        flow.opener.to_send, flow.opener.closes = 500_000, True
    assert rig.pair.run(lambda: all(flow.answerer is not None and flow.answerer.saw_end for flow in flows), 120)
    most = max(stack.budget.used for stack in rig.stacks)
    assert most <= MEBIBYTE


def look(connection):
    """What its owner does when it has something to send."""
    return connection.send_room


@pytest.mark.parametrize("is_local", [False, True])
def test_an_owner_who_stopped_for_want_of_memory_is_told_of_room_though_others_gave_theirs_back_meanwhile(is_local):
    """A reader beside a memory limit got nothing for ever: when its last ACK came, there was too much room by then to
    be waited for."""
    stack = Stack(1500, b"secret", budget=MemoryBudget(8 * MEBIBYTE))
    (client,) = clients_of(stack, 1)
    connection = client.connection
    if is_local:
        connection.sender.limit *= 2
    others = 13 * MEBIBYTE // 2
    stack.budget.used += others
    connection.send([bytes(look(connection))], client.now)
    assert look(connection) < 4096
    stack.budget.used -= others
    while connection.unacknowledged:
        client.send(ACK, seq=1, ack=1 + connection.bytes_sent)
    assert stack.changed == [connection]


def test_an_owner_who_found_much_room_is_not_told_of_more():
    stack = Stack(1500, b"secret", budget=MemoryBudget(8 * MEBIBYTE))
    (client,) = clients_of(stack, 1)
    connection = client.connection
    assert look(connection) > connection.sender.limit // 2
    connection.send([bytes(3000)], client.now)
    client.send(ACK, seq=1, ack=3001)
    assert stack.changed == []


def test_owners_who_hold_nothing_are_told_in_turn_when_others_give_memory_back():
    stack = Stack(1500, b"secret", budget=MemoryBudget(MEBIBYTE))
    connections = [client.connection for client in clients_of(stack, 4)]
    stack.budget.used += MEBIBYTE
    for connection in (*connections, connections[0]):
        assert look(connection) <= 0
    connections[2].abort()
    stack.wake_starved()
    assert [each for each in stack.changed if not each.closed] == []
    stack.changed.clear()
    stack.budget.used -= 1
    stack.wake_starved()
    assert stack.changed == [connections[0], connections[1], connections[3]]
    stack.changed.clear()
    stack.wake_starved()
    assert stack.changed == []


def test_nobody_waits_for_memory_whose_client_has_yet_to_acknowledge():
    stack = Stack(1500, b"secret", budget=MemoryBudget(MEBIBYTE))
    (client,) = clients_of(stack, 1)
    client.connection.send([bytes(3000)], client.now)
    stack.budget.used += MEBIBYTE
    assert look(client.connection) <= 0
    stack.budget.used -= MEBIBYTE
    stack.wake_starved()
    assert stack.changed == []
    client.send(ACK, seq=1, ack=3001)
    assert stack.changed == [client.connection]
