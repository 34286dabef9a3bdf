"""Timestamps and PAWS (RFC 7323), SACK as receiver (RFC 2018, 2883), ECN and urgent data."""

from __future__ import annotations

import pytest

from tunflow.stack.budget import MemoryBudget
from tunflow.stack.tcp.receiver import EARLY_LIMIT, Receiver
from tunflow.stack.tcp.timestamps import IDLE_LIMIT, Timestamps
from tunflow.testing.packet_script import ScriptedClient, Segment
from tunflow.wire import virtio_net
from tunflow.wire.tcp import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG, Options

SACKED = Options(mss=1460, window_scale=7, sack_permitted=True)


def stamped(value, echoed=0, **others):
    return Options(timestamps=(value, echoed), **others)


def with_timestamps(value=1000):
    client = ScriptedClient()
    client.send(SYN, seq=0, options=stamped(value, mss=1460, sack_permitted=True))
    connection = client.connection
    connection.accept(client.now)
    (answer,) = client.receive()
    assert answer.options.timestamps is not None
    assert answer.options.timestamps[1] == value
    client.send(ACK, seq=1, ack=1, options=stamped(value))
    return client, connection, answer.options.timestamps[0]


def test_rfc7323_3_2_timestamps_only_for_those_who_offer_them():
    client = ScriptedClient()
    client.send(SYN, seq=0, options=SACKED)
    client.connection.accept(client.now)
    (answer,) = client.receive()
    assert answer.options.timestamps is None
    assert answer.options.sack_permitted


def test_timestamps_are_not_negotiated_with_a_client_on_this_host():
    # docs/adr/0010: a checksum left to the device means that no wire lies between.
    client = ScriptedClient()
    header = virtio_net.HEADER.pack(virtio_net.NEEDS_CSUM, virtio_net.GSO_NONE, 0, 20, 16, 0)
    client.stack.receive([header + client.packet(SYN, seq=0, options=stamped(1, mss=1460))], 10, client.now)
    client.connection.accept(client.now)
    assert client.receive()[0].options.timestamps is None


def test_rfc7323_3_2_every_segment_carries_them_and_payload_makes_room():
    client, connection, first = with_timestamps()
    client.now += 0.5
    connection.send([bytes(5000)], client.now)
    segments = client.receive()
    assert [len(segment.payload) for segment in segments] == [1448, 1448, 1448, 656]
    assert {segment.options.timestamps for segment in segments} == {((first + 500) & 0xFFFFFFFF, 1000)}
    connection.abort()
    assert client.receive()[0].options.timestamps is not None


def test_rfc7323_3_2_a_segment_without_them_is_dropped_but_a_reset_is_not():
    client, connection, _ = with_timestamps()
    client.send(ACK, seq=1, ack=1, payload=b"x")
    assert connection.readable == 0
    client.send(RST, seq=1)
    assert connection.was_reset


def test_rfc7323_5_3_r1_an_old_timestamp_is_a_duplicate():
    client, connection, _ = with_timestamps(1000)
    client.send(ACK, seq=1, ack=1, payload=b"old", options=stamped(999))
    assert connection.readable == 0
    assert client.receive() == [Segment("A", seq=1, ack=1)]
    client.send(ACK, seq=1, ack=1, payload=b"new", options=stamped(1000))
    assert connection.take(10) == [b"new"]


def test_rfc7323_5_5_after_24_days_the_last_timestamp_means_nothing():
    stamps = Timestamps(0, 1000, 0, 0.0)
    assert stamps.is_old(500, IDLE_LIMIT - 1)
    assert not stamps.is_old(500, IDLE_LIMIT)


def test_rfc7323_4_3_only_what_lies_at_last_ack_sent_is_echoed():
    client, connection, _ = with_timestamps(1000)
    client.send(ACK, seq=5, ack=1, payload=b"later", options=stamped(2000))
    assert client.receive()[0].options.timestamps[1] == 1000
    client.send(ACK, seq=1, ack=1, payload=b"hole", options=stamped(1500))
    assert client.receive()[0].options.timestamps[1] == 1500
    client.send(ACK, seq=1, ack=1, payload=b"hole", options=stamped(1600))  # outside the window
    assert client.receive()[0].options.timestamps[1] == 1500
    assert connection.readable == 9


def test_rfc7323_4_1_an_echo_measures_what_was_sent_twice():
    # Karn's rule would keep the backed-off time-out.
    client, connection, _ = with_timestamps()
    connection.send([b"x"], client.now)
    client.receive()
    client.advance(1.0)
    (again,) = client.receive()
    assert connection.sender.rtt.rto == 2.0
    client.now += 0.1
    client.send(ACK, seq=1, ack=2, options=stamped(1100, again.options.timestamps[0]))
    assert connection.sender.rtt.smoothed == pytest.approx(0.1)
    assert connection.sender.rtt.rto < 1.0


def test_timestamps_of_two_connections_start_apart():
    one = with_timestamps()[2]
    client = ScriptedClient(source_port=40001)
    client.send(SYN, seq=0, options=stamped(1))
    client.connection.accept(client.now)
    assert abs(client.receive()[0].options.timestamps[0] - one) > 1000


def blocks(client, segment):
    return [tuple((edge - client.isn) & 0xFFFFFFFF for edge in block) for block in segment.options.sack]


def test_rfc2018_4_the_first_block_is_the_latest_arrival():
    client = ScriptedClient()
    client.establish(options=SACKED)
    told = []
    for seq in (501, 1501, 2501, 1001):
        client.send(ACK, seq=seq, ack=1, payload=bytes(500))
        (answer,) = client.receive()
        told.append(blocks(client, answer))
    assert told == [
        [(501, 1001)],
        [(1501, 2001), (501, 1001)],
        [(2501, 3001), (1501, 2001), (501, 1001)],
        [(501, 2001), (2501, 3001)],
    ]
    client.send(ACK, seq=1, ack=1, payload=bytes(500))
    (answer,) = client.receive()
    assert answer.ack == 2001
    assert blocks(client, answer) == [(2501, 3001)]
    client.send(ACK, seq=2001, ack=1, payload=bytes(500))
    (answer,) = client.receive()
    assert answer.ack == 3001
    assert not answer.options.sack


def test_rfc2018_no_blocks_for_those_who_did_not_ask_but_an_ack_for_each():
    # RFC 5681 section 4.2: who counts duplicates needs one for each early segment, even within a batch.
    client = ScriptedClient()
    client.establish()
    client.send_packets([client.packet(ACK, seq=seq, ack=1, payload=bytes(500)) for seq in (501, 1001, 1501)])
    answers = client.receive()
    assert [answer.ack for answer in answers] == [1, 1, 1]
    assert not any(answer.options.sack for answer in answers)


def test_rfc2883_4_what_came_twice_is_told_once():
    client = ScriptedClient()
    client.establish(options=SACKED)
    client.send(ACK, seq=1, ack=1, payload=bytes(500))
    client.receive()
    client.send(ACK, seq=1, ack=1, payload=bytes(500))
    (answer,) = client.receive()
    assert blocks(client, answer) == [(1, 501)]
    client.send(ACK, seq=0, ack=1)
    (answer,) = client.receive()
    assert not answer.options.sack


def test_blocks_leave_even_when_data_leaves_too():
    client = ScriptedClient()
    connection = client.establish(options=SACKED)
    client.stack.receive([client.packet(ACK, seq=501, ack=1, payload=bytes(500))], 0, client.now)
    connection.send([bytes(1460)], client.now)
    answers = client.receive()
    assert len(answers[0].payload) == 1460
    assert blocks(client, answers[1]) == [(501, 1001)]


def test_many_tiny_early_pieces_are_bounded():
    receiver = Receiver(0, 1 << 20, MemoryBudget())
    for start in range(1, 20_000, 2):
        receiver.accept(start, memoryview(b"x"))
    assert len(receiver.early) == EARLY_LIMIT
    assert len(receiver.sack_blocks()) == 4


def test_rfc3168_6_1_1_ecn_is_not_negotiated():
    client = ScriptedClient()
    client.send(SYN | ECE | CWR, seq=0, options=SACKED)
    client.connection.accept(client.now)
    assert client.receive() == [Segment("SA", seq=0, ack=1)]
    client.send(ACK, seq=1, ack=1)
    client.connection.send([bytes(1460)], client.now)
    client.receive()
    window = client.connection.sender.congestion.window
    client.send(ACK | ECE, seq=1, ack=1461)
    assert client.connection.sender.congestion.window >= window


def test_rfc6093_urgent_bytes_stay_in_the_stream():
    client = ScriptedClient()
    connection = client.establish()
    client.send(ACK | URG | PSH, seq=1, ack=1, payload=b"ab!cd", urgent=3)
    client.send(ACK | URG, seq=6, ack=1, urgent=65535)
    client.send(ACK | FIN, seq=6, ack=1)
    assert b"".join(connection.take(10)) == b"ab!cd"
    assert connection.at_eof
