"""Opening a connection: the held SYN, its answers, and what goes wrong on the way (RFC 9293 §3.10.7)."""

from __future__ import annotations

import pytest

from tunflow.stack.icmp import Reason
from tunflow.stack.stack import HALF_OPEN_LIMIT, Stack
from tunflow.stack.tcp.state import State
from tunflow.testing.packet_script import ScriptedClient, Segment
from tunflow.wire.tcp import ACK, FIN, RST, SYN, Options


def test_a_syn_is_held_until_the_owner_answers():
    client = ScriptedClient()
    client.send(SYN, seq=0, options=Options(mss=1460, window_scale=7))
    assert client.receive() == []
    assert client.connection.state is State.SYN_HELD
    client.connection.accept(client.now)
    (answer,) = client.receive()
    assert answer == Segment("SA", seq=0, ack=1)
    assert answer.options.mss == 1460
    assert answer.options.window_scale == 7
    client.send(ACK, seq=1, ack=1)
    assert client.connection.state is State.ESTABLISHED


def test_window_scale_is_offered_only_to_those_who_offer_it():
    # RFC 7323 §2.2: a SYN,ACK carries the option only if the SYN did.
    client = ScriptedClient()
    client.send(SYN, seq=0)
    client.connection.accept(client.now)
    (answer,) = client.receive()
    assert answer.options.window_scale is None
    client.send(ACK, seq=1, ack=1, window=1000)
    assert client.connection.sender.window == 1000


def test_ipv6():
    client = ScriptedClient(source="fd00::1", target="2001:db8::80")
    connection = client.establish(mss=1440)
    client.send(ACK, seq=1, ack=1, payload=b"hello")
    assert connection.take(100) == [b"hello"]
    connection.send([b"world"], client.now)
    assert client.receive() == [Segment("PA", seq=1, ack=6, payload=b"world")]


def test_a_repeated_syn_while_held_makes_no_second_connection():
    client = ScriptedClient()
    client.send(SYN, seq=0)
    client.send(SYN, seq=0)
    assert len(client.stack.requests) == 1
    assert client.receive() == []


def test_a_repeated_syn_after_the_answer_gets_the_answer_again():
    client = ScriptedClient()
    client.send(SYN, seq=0)
    client.connection.accept(client.now)
    first = client.receive()
    client.send(SYN, seq=0)
    assert client.receive() == first


def test_refused_means_reset():
    client = ScriptedClient()
    client.send(SYN, seq=0)
    client.connection.reject(reset=True)
    assert client.receive() == [Segment("RA", seq=0, ack=1)]
    assert client.stack.connections == 0


def test_rejected_silently_the_next_syn_is_asked_about_again():
    client = ScriptedClient()
    client.send(SYN, seq=0)
    client.connection.reject(reset=False)
    assert client.receive() == []
    client.send(SYN, seq=0)
    assert len(client.stack.requests) == 1


def test_unreachable_quotes_the_syn():
    client = ScriptedClient()
    client.send(SYN, seq=0)
    connection = client.connection
    client.stack.unreachable(connection.syn, Reason.HOST, client.now)
    connection.reject(reset=False)
    (packet,) = client.stack.outgoing
    whole = b"".join(packet)[10:]
    assert whole[9] == 1  # ICMP
    assert whole[20:22] == bytes((3, 1))  # destination unreachable, host
    assert whole[28:].startswith(client.packet(SYN, seq=0)[:28])


def test_reset_while_held_tells_the_owner():
    client = ScriptedClient()
    client.send(SYN, seq=0)
    connection = client.connection
    client.send(RST, seq=1)
    assert connection.closed
    assert connection.was_reset
    assert client.stack.changed == [connection]


def test_the_answer_is_repeated_with_back_off_and_then_given_up():
    # RFC 6298 (2.1), (5.5): 1 s, doubling.
    client = ScriptedClient()
    client.send(SYN, seq=0)
    client.connection.accept(client.now)
    client.receive()
    times = []
    start = client.now
    for _ in range(2000):
        client.advance(0.1)
        if client.receive():
            times.append(round(client.now - start, 1))
    assert times == pytest.approx([1.0, 3.0, 7.0, 15.0, 31.0], abs=0.11)
    assert client.connection.closed


def test_a_wrong_acknowledgment_of_our_syn_is_reset():
    # RFC 9293 §3.10.7.4, fifth check, SYN-RECEIVED.
    client = ScriptedClient()
    client.send(SYN, seq=0)
    client.connection.accept(client.now)
    client.receive()
    client.send(ACK, seq=1, ack=77)
    assert client.receive() == [Segment("R", seq=77)]
    assert client.connection.state is State.SYN_RECEIVED


@pytest.mark.parametrize(
    ("flags", "ack", "answer"),
    [
        (ACK, 5, [Segment("R", seq=5)]),
        (FIN | ACK, 5, [Segment("R", seq=5)]),
        (0, 0, [Segment("RA", seq=0, ack=13)]),
        (RST, 0, []),
        (SYN | ACK, 5, [Segment("R", seq=5)]),
    ],
)
def test_what_belongs_to_no_connection_is_reset(flags, ack, answer):
    # RFC 9293 §3.10.7.1.
    client = ScriptedClient()
    client.send(flags, seq=10, ack=ack, payload=b"" if flags else b"abc")
    assert client.receive() == answer


@pytest.mark.parametrize(
    ("source", "target"), [("224.0.0.1", "192.0.2.1"), ("198.18.0.1", "255.255.255.255"), ("ff02::1", "2001:db8::1")]
)
def test_groups_have_no_connections(source, target):
    client = ScriptedClient(source=source, target=target)
    client.send(SYN, seq=0)
    assert client.stack.requests == []
    assert client.stack.dropped == 1


def test_half_open_connections_are_bounded():
    stack = Stack(1500, b"")
    packets = []
    for port in range(1, HALF_OPEN_LIMIT + 100):
        packets.append(ScriptedClient(stack, source_port=port).packet(SYN, seq=0))
    stack.receive(packets, 0, 0.0)
    assert stack.connections == HALF_OPEN_LIMIT
    stack.requests[0].reject(reset=True)
    stack.receive([ScriptedClient(stack, source_port=60000).packet(SYN, seq=0)], 0, 0.0)
    assert stack.connections == HALF_OPEN_LIMIT


def test_a_silly_mss_is_raised():
    client = ScriptedClient()
    client.send(SYN, seq=0, options=Options(mss=1))
    assert client.connection.mss == 64


def test_initial_sequence_numbers_differ_by_connection_and_move_with_time():
    # RFC 6528 section 3.
    stack = Stack(1500, b"secret")
    one = stack.initial_sequence(b"a" * 12, 1.0)
    assert one == stack.initial_sequence(b"a" * 12, 1.0)
    assert one != stack.initial_sequence(b"b" * 12, 1.0)
    assert (stack.initial_sequence(b"a" * 12, 2.0) - one) % (1 << 32) == 250_000
    assert one != Stack(1500, b"other").initial_sequence(b"a" * 12, 1.0)
