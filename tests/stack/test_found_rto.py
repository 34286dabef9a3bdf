"""Found by two stacks over a bad wire: what the sender does after a retransmission time-out."""

from __future__ import annotations

from tunflow.testing.packet_script import ScriptedClient
from tunflow.wire.tcp import ACK

MSS = 1460


def sent_at_once(client, connection, segments):
    """Send that many segments with the first window; the peer answers none of them."""
    connection.send([bytes(segments * MSS)], client.now)
    assert sum(len(segment.payload) for segment in client.receive()) == segments * MSS


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
    sent_at_once(client, connection, 1)
    client.advance(0.02)
    client.send(ACK, seq=1, ack=1 + MSS)
    sent_at_once(client, connection, 1)
    client.advance(10.0)
    client.receive()
    assert connection.sender.rtt.rto > 5
    client.send(ACK, seq=1, ack=1 + 2 * MSS)
    sent_at_once(client, connection, 1)
    client.advance(0.02)
    client.send(ACK, seq=1, ack=1 + 3 * MSS)
    assert connection.sender.rtt.rto < 0.5
