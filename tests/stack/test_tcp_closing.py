"""Ends: half-close, both orders of FIN, resets, TIME-WAIT, abandoned connections."""

from __future__ import annotations

import gc

import pytest

from tunflow.stack.stack import Stack
from tunflow.stack.tcp.connection import Connection
from tunflow.stack.tcp.state import TRANSITIONS, State, check_move
from tunflow.testing.packet_script import ScriptedClient, Segment
from tunflow.wire.tcp import ACK, FIN, RST, SYN


def test_client_closes_first_and_still_hears():
    client = ScriptedClient()
    connection = client.establish()
    client.send(ACK | FIN, seq=1, ack=1, payload=b"bye")
    assert connection.take(10) == [b"bye"]
    assert connection.at_eof
    assert connection.state is State.CLOSE_WAIT
    connection.send([b"late answer"], client.now)
    assert client.receive() == [Segment("PA", seq=1, ack=5, payload=b"late answer")]
    connection.close_write(client.now)
    assert client.receive() == [Segment("FA", seq=12, ack=5)]
    assert connection.state is State.LAST_ACK
    client.send(ACK, seq=5, ack=13)
    assert connection.closed
    assert not connection.was_reset
    assert client.stack.connections == 0


def test_far_side_closes_first_and_still_hears():
    client = ScriptedClient()
    connection = client.establish()
    connection.send([b"all"], client.now)
    connection.close_write(client.now)
    assert client.receive() == [Segment("PA", seq=1, ack=1, payload=b"all"), Segment("FA", seq=4, ack=1)]
    client.send(ACK, seq=1, ack=5)
    assert connection.state is State.FIN_WAIT_2
    client.send(ACK, seq=1, ack=5, payload=b"more from me")
    assert connection.take(100) == [b"more from me"]
    client.send(ACK | FIN, seq=13, ack=5)
    assert client.receive()[-1] == Segment("A", seq=5, ack=14)
    assert connection.closed


def test_both_close_at_once():
    # RFC 9293 figure 13.
    client = ScriptedClient()
    connection = client.establish()
    connection.close_write(client.now)
    client.receive()
    client.send(ACK | FIN, seq=1, ack=1)
    assert client.receive() == [Segment("A", seq=2, ack=2)]
    assert connection.state is State.CLOSING
    client.send(ACK, seq=2, ack=2)
    assert connection.closed
    client.send(ACK | FIN, seq=1, ack=2)  # its FIN again: our ACK was lost
    assert client.receive() == [Segment("A", seq=2, ack=2)]


def test_a_fin_and_the_ack_of_ours_in_one_segment():
    client = ScriptedClient()
    connection = client.establish()
    connection.close_write(client.now)
    client.receive()
    client.send(ACK | FIN, seq=1, ack=2)
    assert client.receive() == [Segment("A", seq=2, ack=2)]
    assert connection.closed


def test_a_lost_fin_is_sent_again():
    client = ScriptedClient()
    connection = client.establish()
    connection.close_write(client.now)
    first = client.receive()
    client.advance(1.0)
    assert client.receive() == first
    client.send(ACK, seq=1, ack=2)
    client.advance(50)
    assert client.receive() == []


def test_an_early_fin_waits_for_the_gap():
    client = ScriptedClient()
    connection = client.establish()
    client.send(ACK | FIN, seq=4, ack=1, payload=b"def")
    assert not connection.at_eof
    client.send(ACK, seq=1, ack=1, payload=b"abc")
    assert connection.take(10)
    assert not connection.at_eof  # the FIN itself must come again
    client.send(ACK | FIN, seq=4, ack=1, payload=b"def")
    assert connection.at_eof


def test_data_behind_a_fin_is_nothing():
    client = ScriptedClient()
    connection = client.establish()
    client.send(ACK | FIN, seq=1, ack=1)
    client.send(ACK, seq=2, ack=1, payload=b"ghost")
    assert connection.readable == 0


def test_time_wait_ends_and_a_new_syn_may_take_its_place():
    # RFC 9293 §3.10.7.4: a SYN beyond the old numbers reopens.
    client = ScriptedClient()
    connection = client.establish()
    connection.close_write(client.now)
    client.send(ACK | FIN, seq=1, ack=2)
    client.receive()
    client.send(SYN, seq=0)  # an old duplicate
    assert client.receive() == [Segment("A", seq=2, ack=2)]
    assert client.stack.requests == []
    client.send(RST, seq=2)  # RFC 1337
    client.send(SYN, seq=5000)
    assert len(client.stack.requests) == 1

    other = ScriptedClient()
    connection = other.establish()
    connection.close_write(other.now)
    other.send(ACK | FIN, seq=1, ack=2)
    other.receive()
    other.advance(5)
    other.send(ACK, seq=2, ack=2)
    assert [segment.flags for segment in other.receive()] == ["R"]


def test_reset_with_the_exact_number_ends_it():
    client = ScriptedClient()
    connection = client.establish()
    client.send(ACK, seq=1, ack=1, payload=b"lost")
    client.send(RST, seq=5)
    assert connection.was_reset
    assert connection.closed
    assert connection.readable == 0


@pytest.mark.parametrize("flags", [RST, SYN, SYN | ACK])
def test_a_blind_reset_or_syn_is_challenged(flags):
    # RFC 5961 §3.2, §4.2.
    client = ScriptedClient()
    connection = client.establish()
    client.send(flags, seq=100, ack=1)
    assert client.receive() == [Segment("A", seq=1, ack=1)]
    assert not connection.closed


def test_a_reset_outside_the_window_is_nothing():
    client = ScriptedClient()
    connection = client.establish()
    client.send(RST, seq=-5)
    client.send(RST, seq=10_000_000)
    assert client.receive() == []
    assert not connection.closed


def test_an_ack_of_what_was_never_sent_changes_nothing():
    client = ScriptedClient()
    connection = client.establish()
    connection.send([b"x"], client.now)
    client.receive()
    client.send(ACK, seq=1, ack=500)
    assert client.receive() == [Segment("A", seq=2, ack=1)]
    assert connection.sender.flight


def test_abort_resets_the_client():
    client = ScriptedClient()
    connection = client.establish()
    connection.send([b"half a"], client.now)
    connection.abort()
    assert client.receive()[-1].flags == "RA"
    assert client.stack.connections == 0
    connection.abort()  # twice does no harm
    assert client.receive() == []


def test_an_abandoned_connection_still_delivers():
    client = ScriptedClient()
    connection = client.establish()
    client.send(ACK | FIN, seq=1, ack=1)
    connection.send([b"tail"], client.now)
    connection.close_write(client.now)
    connection.abandon(client.now)
    sent = client.receive()
    client.advance(1.0)
    assert client.receive() == [sent[0]]
    client.send(ACK, seq=2, ack=6)
    assert client.stack.connections == 0


def test_an_abandoned_connection_that_the_client_never_closes_ends():
    client = ScriptedClient()
    connection = client.establish()
    connection.close_write(client.now)
    connection.abandon(client.now)
    client.send(ACK, seq=1, ack=2)
    client.receive()
    client.advance(59)
    assert client.stack.connections == 1
    client.advance(2)
    assert client.stack.connections == 0


def test_data_for_an_abandoned_connection_resets_it():
    # RFC 9293 §3.10.4: nobody would ever read it.
    client = ScriptedClient()
    connection = client.establish()
    connection.close_write(client.now)
    connection.abandon(client.now)
    client.send(ACK, seq=1, ack=1, payload=b"hello?")
    assert client.receive()[-1].flags == "RA"


def test_every_state_has_its_edges_and_nothing_else_is_legal():
    assert set(TRANSITIONS) == set(State)
    for old in State:
        for new in State:
            if new in TRANSITIONS[old]:
                check_move(old, new)
            else:
                with pytest.raises(AssertionError):
                    check_move(old, new)


def test_the_last_bytes_and_the_fin_share_a_segment():
    client = ScriptedClient()
    connection = client.establish()
    connection.close_write(client.now, [b"all there is"])
    assert client.receive() == [Segment("FPA", seq=1, ack=1, payload=b"all there is")]


def test_a_fin_is_acknowledged_even_if_the_connection_ends_in_the_same_batch():
    client = ScriptedClient()
    connection = client.establish()
    connection.close_write(client.now)
    client.receive()
    client.send_packets([client.packet(ACK | FIN, seq=1, ack=1), client.packet(ACK, seq=2, ack=2)])
    assert client.receive() == [Segment("A", seq=2, ack=2)]
    assert connection.closed


def test_what_is_over_is_not_held_in_memory():
    stack = Stack(1500, b"")
    for port in range(1, 3000):
        client = ScriptedClient(stack, source_port=port)
        client.establish().abort()
        stack.changed.clear()
        stack.outgoing.clear()
    gc.collect()
    held = [thing for thing in gc.get_objects() if isinstance(thing, Connection) and thing.host is stack]
    assert len(held) < 600
