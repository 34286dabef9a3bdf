"""Losses: SACK (RFC 6675), PRR (6937), limited transmit (3042), time-outs (6298, 3522), CUBIC (9438)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tcp_link import Link, transfer

from tunflow.stack.tcp.congestion import BETA, INITIAL_SEGMENTS, Cubic
from tunflow.testing.packet_script import ScriptedClient, Segment
from tunflow.wire.tcp import ACK, SYN, Options

MSS = 1460
TRIP = 0.02
"""Seconds from sending until the first acknowledgment; a quarter of it is the patience of RFC 8985."""
SACKED = Options(mss=MSS, window_scale=7, sack_permitted=True)


def sending(segments, *, options=SACKED, window=100):
    """A connection with so many segments in flight, in one super-segment."""
    client = ScriptedClient()
    connection = client.establish(options=options)
    client.send(ACK, seq=1, ack=1, window=0xFFFF)
    connection.sender.congestion.window = window * MSS
    connection.send([bytes(segments * MSS)], client.now)
    assert len(client.receive()) == segments
    client.advance(TRIP)
    return client, connection


def acknowledge(client, segments, *sacked, extra=()):
    """An ACK of so many segments, and SACK blocks given in segments."""
    start = client.stack_isn + 1
    edges = tuple(((start + left * MSS) & 0xFFFFFFFF, (start + right * MSS) & 0xFFFFFFFF) for left, right in sacked)
    client.send(ACK, seq=1, ack=1 + segments * MSS, window=0xFFFF, options=Options(sack=edges + tuple(extra)))


def numbers(client):
    return [(segment.seq - 1) // MSS for segment in client.receive()]


def test_rfc6675_5_a_hole_is_sent_again_and_nothing_else():
    client, connection = sending(20)
    connection.send([bytes(MSS)], client.now)
    client.receive()
    acknowledge(client, 3, (4, 8))
    assert numbers(client) == [3]
    acknowledge(client, 3, (4, 20))
    assert numbers(client) == []
    acknowledge(client, 21)
    assert connection.sender.losses is None
    assert connection.sender.retransmissions == 1


def test_rfc8985_6_2_two_segments_above_are_no_loss_yet():
    client, _connection = sending(20)
    acknowledge(client, 3, (4, 6))
    assert numbers(client) == []
    acknowledge(client, 3, (4, 7))
    assert numbers(client)[0] == 3


def test_rfc8985_6_3_one_segment_above_is_enough_after_a_quarter_of_a_round_trip():
    client, _connection = sending(20)
    acknowledge(client, 3, (4, 5))
    client.advance(TRIP / 4 - 0.001)
    assert numbers(client) == []
    client.advance(0.002)
    assert numbers(client)[0] == 3


def test_rfc8985_6_2_a_path_that_reorders_is_given_that_time_also_with_many_segments_above():
    client, connection = sending(20)
    acknowledge(client, 0, (2, 3))
    acknowledge(client, 0, (1, 3))  # what was sent earlier came later
    acknowledge(client, 0, (1, 19))
    assert connection.sender.losses.reordered
    assert numbers(client) == []
    client.advance(TRIP / 4 + 0.001)
    assert numbers(client)[0] == 0


def test_rfc8985_6_2_what_was_sent_again_and_lost_again_is_found_without_the_timer():
    client, connection = sending(20)
    connection.send([bytes(20 * MSS)], client.now)
    client.receive()
    acknowledge(client, 0, (1, 8))
    assert numbers(client)[0] == 0
    client.advance(TRIP)
    acknowledge(client, 0, (1, 20))  # sent before 0 went again: says nothing about it
    assert 0 not in numbers(client)
    acknowledge(client, 0, (1, 40))  # and this was sent after it
    client.advance(TRIP / 2)
    assert 0 in numbers(client)
    assert connection.sender.rtt.rto == 1.0


def test_rfc6675_2_three_runs_above_are_a_loss():
    client, _connection = sending(20)
    acknowledge(client, 3, (4, 5), (6, 7))
    assert numbers(client) == []
    acknowledge(client, 3, (8, 9), (6, 7), (4, 5))
    assert numbers(client)[0] == 3


def test_rfc6675_several_holes_are_repaired_in_one_round_trip():
    client, connection = sending(40)
    acknowledge(client, 0, (1, 2), (3, 4), (5, 40))
    sent = numbers(client)
    for until in range(20, 40):
        acknowledge(client, 0, (1, 2), (3, 4), (5, until + 1))
        sent += numbers(client)
    assert sorted(sent) == [0, 2, 4]
    acknowledge(client, 40)
    assert connection.sender.losses is None


def measured(segments):
    """As `sending`, on a path whose round trip has been measured."""
    client, connection = sending(10)
    acknowledge(client, 10)
    connection.sender.congestion.window = 100 * MSS
    connection.send([bytes(segments * MSS)], client.now)
    assert numbers(client) == list(range(10, 10 + segments))
    return client, connection


def test_rfc8985_7_3_a_lost_tail_is_probed_after_two_round_trips():
    client, connection = measured(5)
    window = connection.sender.congestion.window
    client.advance(2 * TRIP - 0.001)
    assert numbers(client) == []
    client.advance(0.002)
    assert numbers(client) == [14]
    assert connection.sender.losses is None
    client.advance(TRIP)
    acknowledge(client, 12, (14, 15))  # 12 and 13 were lost: the probe shows it
    client.advance(TRIP)
    assert numbers(client) == [12, 13]
    assert connection.sender.congestion.window < window


def test_rfc8985_7_3_the_probe_is_new_data_where_there_is_room():
    client, connection = measured(5)
    connection.sender.congestion.window = 5 * MSS
    connection.send([bytes(5 * MSS)], client.now)
    client.advance(2 * TRIP + 0.001)
    assert numbers(client) == [15]


def test_rfc8985_7_3_one_packet_is_left_to_the_timer():
    client, connection = measured(1)
    client.advance(connection.sender.rtt.rto - 0.001)
    assert numbers(client) == []
    client.advance(0.002)
    assert numbers(client) == [10]


@pytest.mark.parametrize("is_duplicate", [True, False])
def test_rfc8985_7_4_a_loss_that_the_probe_repaired_is_one_unless_both_arrived(is_duplicate):
    client, connection = measured(5)
    client.advance(2 * TRIP + 0.001)
    assert numbers(client) == [14]
    acknowledge(client, 15)
    connection.send([bytes(MSS)], client.now)
    client.receive()
    window = connection.sender.congestion.window
    if is_duplicate:
        acknowledge(client, 15, (14, 15))
    acknowledge(client, 16)
    assert (connection.sender.congestion.window < window) is not is_duplicate


def test_rfc8985_7_3_after_the_probe_the_timer():
    client, _connection = measured(5)
    client.advance(2 * TRIP + 0.001)
    assert numbers(client) == [14]
    client.advance(1.0)
    assert numbers(client)[0] == 10


def test_a_client_on_this_host_is_not_probed():
    client, connection = measured(5)
    connection.sender.probes_tail = False
    acknowledge(client, 11)
    client.advance(0.19)
    assert numbers(client) == []


def test_rfc6675_what_was_sacked_survives_a_time_out_unless_the_peer_reneged():
    client, connection = sending(20)
    acknowledge(client, 0, (1, 10), (11, 20))
    client.receive()
    client.advance(1.0)
    assert numbers(client) == [0]
    acknowledge(client, 10, (11, 20))
    assert numbers(client) == [10]
    acknowledge(client, 20)
    assert connection.sender.losses is None


def test_rfc2018_8_after_a_time_out_with_the_head_sacked_sacks_are_forgotten():
    client, _connection = sending(10)
    acknowledge(client, 0, (1, 10))
    client.receive()
    acknowledge(client, 1)  # up to what it said it had: and then it had not
    client.receive()
    client.advance(1.0)
    assert numbers(client) == [1]
    acknowledge(client, 2)
    assert numbers(client) == [2, 3]


def test_a_time_out_is_followed_by_slow_start_not_by_one_segment_a_round_trip():
    client, _connection = sending(16, options=Options(mss=MSS, window_scale=7))
    client.advance(1.0)
    assert numbers(client) == [0]
    rounds = []
    done = 1
    while done < 16:
        acknowledge(client, done)
        sent = numbers(client)
        rounds.append(len(sent))
        done = max(sent) + 1 if sent else 16
    assert rounds[:3] == [2, 4, 8]


def test_rfc3042_the_first_two_duplicates_let_one_new_segment_go_each():
    client, connection = sending(10, options=Options(mss=MSS, window_scale=7), window=10)
    connection.send([bytes(5 * MSS)], client.now)
    assert numbers(client) == []
    acknowledge(client, 0)
    assert numbers(client) == [10]
    acknowledge(client, 0)
    assert numbers(client) == [11]
    acknowledge(client, 0)
    assert numbers(client) == [0]


def test_rfc6937_what_leaves_in_a_recovery_is_in_proportion_to_what_arrived():
    client, connection = sending(40, window=40)
    connection.send([bytes(40 * MSS)], client.now)
    sent = 0
    for until in range(4, 40):
        acknowledge(client, 0, (1, until + 1))
        sent += len(numbers(client))
    assert BETA * 39 - 3 <= sent <= BETA * 39 + 3
    assert connection.sender.congestion.window == int(BETA * 40 * MSS)


def test_a_new_loss_of_what_was_sent_again_waits_for_the_timer_and_recovers():
    client, connection = sending(10)
    acknowledge(client, 0, (1, 10))
    assert numbers(client) == [0]
    client.advance(1.0)
    assert numbers(client) == [0]
    acknowledge(client, 10)
    assert connection.sender.losses is None


@pytest.mark.parametrize("bad", [(0, 5), (5, 5), (9, 3), (5, 500), (-5, -2)])
def test_sack_blocks_that_cannot_be_change_nothing(bad):
    client, connection = sending(20)
    for _ in range(5):
        acknowledge(client, 0, bad)
    assert numbers(client) == []
    assert not any(segment.sacked for segment in connection.sender.flight)


def test_blocks_with_odd_edges_make_no_more_records_than_packets():
    client, connection = sending(40)
    start = client.stack_isn + 1

    def sack(left, right):
        block = ((start + left) & 0xFFFFFFFF, (start + right) & 0xFFFFFFFF)
        client.send(ACK, seq=1, ack=1, options=Options(sack=(block,)))

    for offset in range(1, 40 * MSS - 2, 7):
        sack(offset, offset + 1)
    flight = connection.sender.flight
    assert len(flight) <= 40
    assert not any(segment.sacked for segment in flight)
    sack(100, 3 * MSS + 5)
    assert [index for index, segment in enumerate(flight) if segment.sacked] == [1, 2]
    assert len(flight) <= 40


def test_rfc3522_an_early_time_out_is_undone():
    client = ScriptedClient()
    client.send(SYN, seq=0, options=SACKED._replace(timestamps=(1, 0)))
    connection = client.connection
    connection.accept(client.now)
    (answer,) = client.receive()
    client.send(ACK, seq=1, ack=1, window=0xFFFF, options=Options(timestamps=(1, answer.options.timestamps[0])))
    connection.send([bytes(10 * 1448)], client.now)
    (first, *_) = client.receive()
    window = connection.sender.congestion.window
    client.advance(1.0)
    assert len(client.receive()) == 1
    assert connection.sender.congestion.window == 1448
    echo = Options(timestamps=(2, first.options.timestamps[0]))
    client.send(ACK, seq=1, ack=1 + 2 * 1448, window=0xFFFF, options=echo)
    assert client.receive() == []
    assert connection.sender.congestion.window >= window
    assert connection.sender.losses is None


def test_rfc6298_5_5_and_5_6_a_time_out_doubles_up_to_a_minute():
    client, _connection = sending(1)
    times = []
    start = client.now
    for _ in range(1500):
        client.advance(0.1)
        if any(segment.payload for segment in client.receive()):
            times.append(round(client.now - start, 1))
    gaps = [round(b - a) for a, b in itertools.pairwise(times)]
    assert gaps == [2, 4, 8, 16, 32, 60]


def test_rfc5681_4_1_after_a_pause_the_window_starts_again():
    client, connection = sending(20)
    acknowledge(client, 20)
    assert connection.sender.congestion.window >= 100 * MSS
    client.now += 5
    connection.send([bytes(20 * MSS)], client.now)
    assert len(client.receive()) == INITIAL_SEGMENTS


# CUBIC alone. Windows in segments of 1,000 bytes.


def avoided(cubic, seconds, rtt=0.1, start=0.0):
    """Let a path that is always used acknowledge a window each round trip."""
    now = start
    while now < start + seconds:
        cubic.acknowledged(cubic.window, cubic.window, now, rtt)
        now += rtt
    return cubic.window / 1000


def test_rfc9438_4_6_a_loss_takes_three_tenths():
    cubic = Cubic(1000)
    cubic.window = 100_000
    cubic.lost(100_000)
    assert cubic.window == cubic.threshold == 70_000
    cubic = Cubic(1000)
    cubic.window = 2000
    cubic.lost(1000)
    assert cubic.window == 2000


def test_rfc9438_4_2_the_window_is_back_after_k_seconds_and_flat_there():
    cubic = Cubic(1000)
    cubic.window = 1_000_000
    cubic.lost(1_000_000)
    k = (1000 * 0.3 / 0.4) ** (1 / 3)
    assert avoided(cubic, k / 2) < 1000
    near = avoided(cubic, k / 2, start=k / 2)
    assert near == pytest.approx(1000, rel=0.02)
    assert avoided(cubic, 1, start=k) == pytest.approx(1000, rel=0.02)
    assert avoided(cubic, k, start=k + 1) > 1200


def test_rfc9438_4_3_a_short_path_grows_at_least_like_reno():
    cubic = Cubic(1000)
    cubic.window = 10_000
    cubic.lost(10_000)
    assert avoided(cubic, 0.1, rtt=0.001) >= 7 + 100 * 0.5


def test_rfc9438_4_7_fast_convergence_gives_room_to_others():
    cubic = Cubic(1000)
    cubic.window = 100_000
    cubic.lost(100_000)
    cubic.lost(70_000)
    assert cubic.peak == pytest.approx(70 * (1 + BETA) / 2)


def test_rfc9438_5_8_a_window_that_is_not_used_does_not_grow():
    cubic = Cubic(1000)
    window = cubic.window
    for _ in range(100):
        cubic.acknowledged(1000, 1000, 1.0, 0.1)
    assert cubic.window == window
    cubic.lost(10_000)
    window = cubic.window
    for now in range(100):
        cubic.acknowledged(1000, 1000, now, 0.1)
    assert cubic.window == window


def test_rfc5681_3_1_a_second_time_out_keeps_the_threshold():
    cubic = Cubic(1000)
    cubic.window = 100_000
    cubic.timed_out(100_000, again=False)
    assert (cubic.window, cubic.threshold) == (1000, 70_000)
    cubic.timed_out(1000, again=True)
    assert (cubic.window, cubic.threshold) == (1000, 70_000)


# Two stacks and a bad wire.


def test_a_good_wire_loses_and_repeats_nothing():
    link = Link()
    assert transfer(link, 2_000_000) < 0.5
    assert link.stacks[0].retransmissions == 0


def test_a_full_queue_costs_little():
    # 10 Mbit/s, 20 ms, a queue of 20 packets: slow start overflows it once, and what follows is nearly lossless.
    link = Link(rate=1.25e6, queue=20)
    assert transfer(link, 2_000_000) < 1.3 * 2_000_000 / 1.25e6
    assert link.lost < 150


def test_reordering_is_got_used_to():
    link = Link(jitter=0.005)
    assert transfer(link, 2_000_000) < 2.5


def test_the_first_flight_and_the_last_may_be_lost():
    def lose(side, packet, number):
        return not side and 3 < number < 14

    assert transfer(Link(lose=lose), 100_000) < 3


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1 << 16),
    loss=st.sampled_from([0.0, 0.01, 0.05, 0.2]),
    jitter=st.sampled_from([0.0, 0.002, 0.03]),
    repeat=st.sampled_from([0.0, 0.1]),
    mtu=st.sampled_from([576, 1500, 9000]),
)
def test_every_byte_arrives_whatever_the_wire_does(seed, loss, jitter, repeat, mtu):
    transfer(Link(seed, loss=loss, jitter=jitter, repeat=repeat, mtu=mtu), 60_000)


def test_a_segment_is_equal_to_itself_again():
    client, _ = sending(1)
    client.advance(1.0)
    assert client.receive() == [Segment("PA", seq=1, ack=1, payload=bytes(MSS))]
