"""Active open: SYN-SENT, simultaneous open, and two of our stacks with each other (RFC 9293 §3.5, §3.10.7.3)."""

from __future__ import annotations

import pytest

from tunflow.endpoint import endpoint
from tunflow.errors import LocalError
from tunflow.stack.stack import HALF_OPEN_LIMIT, Stack
from tunflow.stack.tcp.state import State
from tunflow.testing.packet_script import ScriptedClient, Segment
from tunflow.wire.tcp import ACK, FIN, RST, SYN, Options


def asked():
    client = ScriptedClient()
    connection = client.be_connected()
    (syn,) = client.receive()
    assert syn == Segment("S", seq=0)
    assert syn.options.mss == 1460
    assert syn.options.window_scale == 7
    return client, connection


def test_rfc9293_figure_6_three_way_handshake():
    client, connection = asked()
    assert connection.state is State.SYN_SENT
    client.send(SYN | ACK, seq=0, ack=1, window=1000, options=Options(mss=1000, window_scale=2))
    assert client.receive() == [Segment("A", seq=1, ack=1)]
    assert connection.open
    assert client.stack.changed == [connection]
    assert connection.mss == 1000
    assert connection.sender.window == 1000  # RFC 7323 §2.2: not scaled in a SYN
    connection.send([bytes(2000)], client.now)
    assert [len(segment.payload) for segment in client.receive()] == [1000]
    client.send(ACK, seq=1, ack=1001, window=1000)
    assert connection.sender.window == 4000


def test_rfc9293_figure_8_simultaneous_open():
    client, connection = asked()
    client.send(SYN, seq=0, options=Options(mss=1460, window_scale=7))
    assert client.receive() == [Segment("SA", seq=0, ack=1)]
    assert connection.state is State.SYN_RECEIVED
    client.send(SYN | ACK, seq=0, ack=1, options=Options(mss=1460, window_scale=7))
    assert connection.open
    client.send(ACK, seq=1, ack=1, payload=b"hello")
    assert connection.take(10) == [b"hello"]


def test_a_lost_answer_of_a_simultaneous_open_is_repeated():
    client, connection = asked()
    client.send(SYN, seq=0)
    first = client.receive()
    client.send(SYN, seq=0)
    assert client.receive() == first
    client.advance(1)
    assert client.receive() == first
    client.send(ACK, seq=1, ack=1)
    assert connection.open


@pytest.mark.parametrize("flags", [SYN | ACK, ACK, FIN | ACK])
def test_rfc9293_3_10_7_3_first_a_wrong_acknowledgment_is_reset(flags):
    client, connection = asked()
    client.send(flags, seq=0, ack=77)
    assert client.receive() == [Segment("R", seq=77)]
    assert connection.state is State.SYN_SENT


def test_rfc9293_3_10_7_3_second_a_reset_counts_only_with_the_right_acknowledgment():
    client, connection = asked()
    client.send(RST, seq=0)
    client.send(RST | ACK, seq=0, ack=55)
    assert client.receive() == []
    assert connection.state is State.SYN_SENT
    client.send(RST | ACK, seq=0, ack=1)
    assert connection.closed
    assert connection.was_reset
    assert client.stack.changed == [connection]
    assert client.stack.connections == 0


def test_rfc9293_3_10_7_3_fifth_neither_syn_nor_reset_is_dropped():
    client, connection = asked()
    client.send(ACK, seq=0, ack=1, payload=b"?")
    client.send(0, seq=0)
    assert client.receive() == []
    assert connection.state is State.SYN_SENT


def test_rfc9293_3_8_3_a_syn_is_repeated_for_three_minutes():
    client, connection = asked()
    times = []
    start = client.now
    for _ in range(400):
        client.advance(1)
        if client.receive():
            times.append(round(client.now - start))
    assert times[:4] == [1, 3, 7, 15]
    assert times[-1] >= 180 - 60
    assert connection.closed
    assert client.now - start >= 180


def test_rfc6298_5_7_a_repeated_syn_makes_the_first_time_out_three_seconds():
    client, connection = asked()
    client.advance(1)
    client.send(SYN | ACK, seq=0, ack=1)
    assert connection.sender.rtt.rto == 3.0


def test_data_and_fin_may_come_with_the_syn_ack():
    client, connection = asked()
    client.send(SYN | ACK | FIN, seq=0, ack=1, payload=b"banner")
    assert connection.take(10) == [b"banner"]
    assert connection.at_eof
    assert connection.state is State.CLOSE_WAIT
    assert client.receive()[-1].ack == 8


def test_what_was_queued_leaves_when_it_opens():
    client, connection = asked()
    connection.send([b"early"], client.now)
    connection.close_write(client.now)
    assert client.receive() == []
    client.send(SYN | ACK, seq=0, ack=1)
    assert client.receive() == [Segment("FPA", seq=1, ack=1, payload=b"early")]


def test_rfc9293_3_10_5_an_abort_in_syn_sent_sends_nothing():
    client, connection = asked()
    connection.abort()
    assert client.receive() == []
    assert client.stack.connections == 0


def test_an_abandoned_attempt_is_forgotten():
    client, connection = asked()
    connection.abandon(client.now)
    assert client.stack.connections == 0


def test_one_connection_for_one_pair_of_ends():
    client, _ = asked()
    with pytest.raises(LocalError):
        client.be_connected()


def test_half_open_connections_of_ours_take_no_place_from_the_clients():
    stack = Stack(1500, b"")
    one = ScriptedClient(stack)
    connection = one.be_connected()
    one.receive()
    one.send(SYN, seq=0)
    connection.abort()
    one.receive()
    for number in range(HALF_OPEN_LIMIT + 1):
        ScriptedClient(stack, source_port=5000 + number).send(SYN, seq=0)
    assert len(stack.requests) == HALF_OPEN_LIMIT


def exchange(one, other, now):
    """Carry packets between two stacks until both are quiet; return the connections that the other one accepted."""
    accepted = []
    for _ in range(100):
        one.flush()
        other.flush()
        forth, one.outgoing = one.outgoing, []
        back, other.outgoing = other.outgoing, []
        if not forth and not back:
            return accepted
        other.receive([b"".join(packet) for packet in forth], 10, now)
        one.receive([b"".join(packet) for packet in back], 10, now)
        for request in other.requests:
            request.accept(now)
        accepted += other.requests
        other.requests.clear()
    raise AssertionError("the stacks never stop talking")


@pytest.mark.parametrize(("here", "there"), [("198.18.0.1", "192.0.2.1"), ("fd00::1", "2001:db8::1")])
def test_two_stacks_with_each_other(here, there):
    one, other = Stack(1500, b"one"), Stack(9000, b"other")
    connection = one.connect(endpoint(here, 5000), endpoint(there, 80), 0.0)
    (peer,) = exchange(one, other, 0.0)
    assert connection.open
    text = bytes(range(256)) * 1000
    connection.send([text], 0.0)
    connection.close_write(0.0)
    got = bytearray()
    now = 0.0
    while not peer.at_eof:
        now += 0.01
        exchange(one, other, now)
        got += b"".join(peer.take(1 << 20))
    assert got == text
    peer.close_write(now, [b"bye"])
    exchange(one, other, now)
    assert connection.take(10) == [b"bye"]
    assert connection.at_eof
    assert connection.closed
    assert peer.closed
    assert one.connections == other.connections == 0
