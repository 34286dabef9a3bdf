"""After a retransmission time-out: slow start, and what a round trip is. Found by two stacks over a bad wire."""

from __future__ import annotations

import pytest

from tunflow.testing.packet_script import ScriptedClient
from tunflow.wire.tcp import ACK, SYN, Options

MSS = 1460


def sent_at_once(client, connection, segments):
    """Send that many segments with the first window; the peer answers none of them."""
    connection.send([bytes(segments * MSS)], client.now)
    assert sum(len(segment.payload) for segment in client.receive()) == segments * MSS


def sent_small(client, connection):
    connection.send([bytes(100)], client.now)
    assert [len(segment.payload) for segment in client.receive()] == [100]


def test_what_was_lost_with_a_time_out_is_sent_again_in_slow_start():
    # RFC 5681 §3.1: after a time-out the window is one segment and slow start sends again what was lost, so each ACK
    # opens it by what it acknowledged: 1, 2, 4 segments a round trip, not 1, 1, 1.
    # Seen as: 0.02 Mbit/s over a 100 Mbit/s wire that loses half of the ACKs and no data.
    client = ScriptedClient()
    connection = client.establish()
    sent_at_once(client, connection, 10)
    client.advance(1.0)
    assert [segment.seq for segment in client.receive()] == [1]
    client.send(ACK, seq=1, ack=1 + MSS)
    assert [segment.seq for segment in client.receive()] == [1 + MSS, 1 + 2 * MSS]
    client.send(ACK, seq=1, ack=1 + 3 * MSS)
    assert [segment.seq for segment in client.receive()] == [1 + number * MSS for number in (3, 4, 5, 6)]


def test_an_ack_that_covers_what_was_sent_twice_measures_nothing():
    # RFC 6298 §3 (Karn): the segments behind a lost one arrived long ago, and their ACK waited for the hole to be
    # filled; the time since they were sent is not a round trip.
    # Seen as: a smoothed round trip of 0.44 s on a wire of 0.02 s that only reorders, and a stall of 1.3 s.
    client = ScriptedClient()
    connection = client.establish()
    sent_at_once(client, connection, 1)
    client.advance(0.02)
    client.send(ACK, seq=1, ack=1 + MSS)
    before = connection.sender.rtt.smoothed
    sent_at_once(client, connection, 5)
    client.advance(0.5)
    client.receive()
    client.send(ACK, seq=1, ack=1 + 6 * MSS)
    assert connection.sender.rtt.smoothed == before


def test_the_back_off_does_not_outlast_the_recovery():
    # RFC 6298 §5: once a new round trip is measured, the time-out collapses; until then each further loss would cost a
    # doubled one. RFC 7323 §4.1 measures also what was sent again, by the timestamp that comes back.
    # Seen as: 200 KB that take half an hour over a wire of 0.02 s that loses a fifth of the packets.
    client = ScriptedClient()
    connection = client.establish()
    sent_small(client, connection)
    client.advance(0.02)
    client.send(ACK, seq=1, ack=101)
    sent_small(client, connection)
    client.advance(10.0)
    client.receive()
    assert connection.sender.rtt.rto > 5
    client.send(ACK, seq=1, ack=201)
    sent_small(client, connection)
    client.advance(0.02)
    client.send(ACK, seq=1, ack=301)
    assert connection.sender.rtt.rto < 0.5


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_lost_ack_is_not_a_long_round_trip(lost):
    # RFC 7323 §5.3 (R2, R3): a duplicate lies outside the window, so the ACK that it calls forth echoes the timestamp
    # of what came before it. When the first ACK was lost, that is older by all the time-outs in between.
    # Seen as: round trips of 91 s and 60 s taken on a wire of 0.02 s, and a time-out of 60 s for minutes.
    client = ScriptedClient()
    client.send(SYN, seq=0, options=Options(mss=1460, sack_permitted=True, timestamps=(5000, 0)))
    connection = client.connection
    connection.accept(client.now)
    (answer,) = client.receive()
    client.send(ACK, seq=1, ack=1, options=Options(timestamps=(5000, answer.options.timestamps[0])))
    connection.send([bytes(100)], client.now)
    (first,) = client.receive()
    client.advance(0.02)
    client.send(ACK, seq=1, ack=101, options=Options(timestamps=(5020, first.options.timestamps[0])))
    assert connection.sender.rtt.smoothed == pytest.approx(0.02)
    connection.send([bytes(100)], client.now)
    (second,) = client.receive()
    client.advance(3.0)
    sendings = [second, *client.receive()]
    assert len(sendings) == 5
    client.send(ACK, seq=1, ack=201, options=Options(timestamps=(8020, sendings[lost].options.timestamps[0])))
    assert connection.sender.rtt.smoothed == pytest.approx(0.02)


@pytest.mark.parametrize("sacks", [True, False])
def test_what_arrived_before_the_time_out_does_not_open_the_window(sacks):
    # RFC 5681 §3.1 and RFC 3465 §2.3: after a time-out the window opens by what was sent since then and arrived. The
    # hole that is filled lets the ACK jump over all that arrived long ago; that is no sign of room.
    # Seen as: a window of 1,448 bytes that one ACK made 192,584, and 130 segments at once into a buffer for 11.
    client = ScriptedClient()
    connection = client.establish(window=1000, options=Options(mss=MSS, sack_permitted=sacks, window_scale=7))
    sent_at_once(client, connection, 10)
    client.advance(0.02)
    client.send(ACK, seq=1, ack=1 + 10 * MSS, window=1000)
    sent_at_once(client, connection, 20)
    base = 1 + 10 * MSS + client.stack_isn
    early = Options(sack=((base + MSS, base + 2 * MSS),)) if sacks else Options()  # and the ACKs behind it are lost
    client.send(ACK, seq=1, ack=1 + 10 * MSS, window=1000, options=early)
    connection.send([bytes(100 * MSS)], client.now)
    client.advance(0.25)
    client.receive()
    last = Options(sack=((base + MSS, base + 18 * MSS),)) if sacks else Options()
    client.send(ACK, seq=1, ack=1 + 10 * MSS, window=1000, options=last)
    client.receive()
    client.send(ACK, seq=1, ack=1 + 28 * MSS, window=1000)
    assert sum(len(segment.payload) for segment in client.receive()) <= 3 * MSS


def full_client():
    """A client that takes nothing of what is in flight, asked so often that it is asked seldom."""
    client = ScriptedClient()
    connection = client.establish(window=20_000)
    sent_small(client, connection)
    client.advance(20.0)
    client.receive()
    assert connection.sender.rtt.rto > 10
    return client, connection


@pytest.mark.parametrize("closed", [0, 50, 19_000])
def test_a_client_that_dropped_for_want_of_room_gets_it_again_when_it_has_some(closed):
    # RFC 9293 §3.8.6: nothing in flight is acknowledged, and the window grows. Linux drops what its buffer has no room
    # for by the memory of whole packets, perhaps with a window that is open.
    # Seen as: a program that reads again after a pause and waits for up to a minute, with much of everything.
    client, connection = full_client()
    client.send(ACK, seq=1, ack=1, window=closed)
    assert client.receive() == []
    client.send(ACK, seq=1, ack=1, window=30_000)
    assert [(segment.seq, len(segment.payload)) for segment in client.receive()] == [(1, 100)]
    assert connection.sender.rtt.rto == 1.0


def test_windows_that_grow_further_do_not_send_it_again():
    # They are no sign that it was dropped once more: only the next time-out says so.
    client, _ = full_client()
    for window in range(21_000, 40_000, 1000):
        client.send(ACK, seq=1, ack=1, window=window)
    assert len(client.receive()) == 1
    client.advance(1.1)
    assert len(client.receive()) == 1
    client.send(ACK, seq=1, ack=1, window=50_000)
    assert len(client.receive()) == 1


def test_a_growing_window_sends_nothing_again_that_has_not_timed_out():
    client = ScriptedClient()
    sent_small(client, client.establish(window=20_000))
    client.send(ACK, seq=1, ack=1, window=30_000)
    assert client.receive() == []


def test_the_back_off_does_not_outlast_a_closed_window():
    # It is that of the probes (RFC 9293 §3.8.6.1); what is sent into the window that has opened may get lost as well.
    client = ScriptedClient()
    connection = client.establish(window=0)
    connection.send([b"hello"], client.now)
    client.advance(60)
    assert len(client.receive()) > 4
    client.send(ACK, seq=1, ack=1, window=100)
    assert [segment.payload for segment in client.receive()] == [b"hello"]
    client.advance(1.0)
    assert [segment.payload for segment in client.receive()] == [b"hello"]


def test_a_silly_window_after_probes_is_used_after_its_own_time_out():
    # RFC 9293 §3.8.6.2.1 (4): the override time-out is short; the probes' was half a minute by now.
    client = ScriptedClient()
    connection = client.establish(window=20_000)
    client.send(ACK, seq=1, ack=1, window=0)
    connection.send([bytes(1000)], client.now)
    client.advance(40)
    client.receive()
    client.send(ACK, seq=1, ack=1, window=50)
    assert client.receive() == []
    client.advance(1.0)
    assert [len(segment.payload) for segment in client.receive()] == [50]


def test_a_syn_that_was_sent_again_is_no_time_out_of_what_follows():
    # RFC 6298 (5.7): its data begins with 3 seconds. A window that grows says nothing about what has not timed out.
    client = ScriptedClient()
    client.send(SYN, seq=0, options=Options(mss=MSS))
    connection = client.connection
    connection.accept(client.now)
    client.advance(1.5)
    assert [segment.flags for segment in client.receive()] == ["SA", "SA"]
    client.send(ACK, seq=1, ack=1, window=20_000)
    sent_small(client, connection)
    client.send(ACK, seq=1, ack=1, window=30_000)
    assert client.receive() == []


def test_a_window_that_grows_over_nothing_ends_no_back_off():
    # Karn's rule holds until a round trip is measured, when the window was never what held anything up.
    client, connection = full_client()
    client.send(ACK, seq=1, ack=101, window=20_000)
    backed_off = connection.sender.rtt.rto
    assert backed_off > 10
    client.send(ACK, seq=1, ack=101, window=30_000)
    assert connection.sender.rtt.rto == backed_off
    sent_small(client, connection)
    client.send(ACK, seq=1, ack=101, window=40_000)
    assert (client.receive(), connection.sender.rtt.rto) == ([], backed_off)  # what is in flight now has not timed out
