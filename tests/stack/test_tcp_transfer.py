"""Data both ways: order, windows, acknowledgments, retransmission."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.stack.budget import MemoryBudget
from tunflow.stack.stack import RECEIVE_LIMIT, SEND_LIMIT
from tunflow.stack.tcp.receiver import Receiver
from tunflow.testing.packet_script import ScriptedClient, Segment
from tunflow.wire import virtio_net
from tunflow.wire.tcp import ACK, FIN, PSH, RST, SYN, Options

SCALED = Options(mss=1460, window_scale=7)


def taken(connection, limit=1 << 20):
    return b"".join(connection.take(limit))


def test_one_ack_for_a_batch():
    client = ScriptedClient()
    connection = client.establish()
    size = 1460
    client.send_packets([client.packet(ACK, seq=1 + i * size, ack=1, payload=bytes([i]) * size) for i in range(10)])
    assert client.receive() == [Segment("A", seq=1, ack=1 + 10 * size)]
    assert taken(connection) == b"".join(bytes([i]) * size for i in range(10))


def test_a_small_segment_is_acknowledged_by_the_answer():
    # RFC 9293 §3.8.6.3: an ACK may wait for data to ride on.
    client = ScriptedClient()
    connection = client.establish()
    client.send(ACK | PSH, seq=1, ack=1, payload=b"question")
    assert client.receive() == []
    connection.send([b"answer"], client.now)
    assert client.receive() == [Segment("PA", seq=1, ack=9, payload=b"answer")]


def test_a_delayed_ack_comes_by_itself_and_then_no_longer_waits():
    client = ScriptedClient()
    client.establish()
    client.send(ACK | PSH, seq=1, ack=1, payload=b"a")
    client.advance(0.019)
    assert client.receive() == []
    client.advance(0.002)
    assert client.receive() == [Segment("A", seq=1, ack=2)]
    client.send(ACK | PSH, seq=2, ack=1, payload=b"b")
    assert client.receive() == [Segment("A", seq=1, ack=3)]


def test_the_second_small_segment_is_acknowledged_at_once():
    # RFC 5681 section 4.2.
    client = ScriptedClient()
    client.establish()
    client.send(ACK | PSH, seq=1, ack=1, payload=b"a")
    client.send(ACK | PSH, seq=2, ack=1, payload=b"b")
    assert client.receive() == [Segment("A", seq=1, ack=3)]


def test_early_data_waits_for_its_turn():
    client = ScriptedClient()
    connection = client.establish()
    client.send(ACK, seq=4, ack=1, payload=b"def")
    assert client.receive() == [Segment("A", seq=1, ack=1)]
    assert connection.readable == 0
    client.send(ACK, seq=7, ack=1, payload=b"ghi")
    client.receive()
    client.send(ACK, seq=1, ack=1, payload=b"abc")
    assert client.receive() == [Segment("A", seq=1, ack=10)]
    assert taken(connection) == b"abcdefghi"


def test_old_data_is_acknowledged_and_dropped():
    client = ScriptedClient()
    connection = client.establish()
    client.send(ACK, seq=1, ack=1, payload=b"abc")
    client.send(ACK, seq=1, ack=1, payload=b"abcde")
    client.receive()
    assert taken(connection) == b"abcde"
    client.send(ACK, seq=1, ack=1, payload=b"abc")
    assert client.receive() == [Segment("A", seq=1, ack=6)]
    assert taken(connection) == b""


@given(data=st.data())
def test_any_order_any_overlap_any_repeat(data):
    text = bytes(i % 251 for i in range(400))
    cuts = data.draw(st.lists(st.tuples(st.integers(0, 399), st.integers(1, 120)), max_size=30))
    pieces = [(start, text[start : start + size]) for start, size in cuts]
    pieces += [(start, text[start : start + 50]) for start in range(0, 400, 50)]
    pieces = data.draw(st.permutations(pieces))
    receiver = Receiver(5, 1000, MemoryBudget())
    for start, payload in pieces:
        receiver.accept(5 + start, memoryview(payload))
    for start in range(0, 400, 50):  # the sender repeats what is not acknowledged
        receiver.accept(5 + start, memoryview(text[start : start + 50]))
    assert b"".join(receiver.take(1000)) == text
    assert receiver.early is None


def test_the_window_closes_and_opens_with_the_owner():
    client = ScriptedClient()
    connection = client.establish(options=SCALED)
    sent = 0
    size = 60_000
    window = 65535
    while True:
        chunk = min(size, window - 0)
        client.send(ACK, seq=1 + sent, ack=1, payload=bytes(chunk))
        sent += chunk
        (ack,) = client.receive()
        window = ack.window << 7
        assert ack.ack == 1 + sent
        assert sent + window <= RECEIVE_LIMIT
        if not window:
            break
    assert sent > RECEIVE_LIMIT - 128
    client.send(ACK, seq=1 + sent, ack=1, payload=b"x")  # beyond the window
    assert client.receive() == [Segment("A", seq=1, ack=1 + sent)]
    connection.take(1000)
    assert client.receive() == []  # not worth a packet (RFC 9293 §3.8.6.2.2)
    connection.take(RECEIVE_LIMIT // 2)
    (update,) = client.receive()
    assert update.window << 7 > RECEIVE_LIMIT // 4


def local_connection(client):
    """An open connection with a client on this host."""
    local = virtio_net.HEADER.pack(virtio_net.NEEDS_CSUM, virtio_net.GSO_NONE, 0, 20, 16, 0)
    client.stack.receive([local + client.packet(SYN, seq=0, options=SCALED)], 10, client.now)
    connection = client.connection
    connection.accept(client.now)
    client.receive()
    client.send(ACK, seq=1, ack=1, window=0xFFFF)
    connection.sender.congestion.window = 1 << 20
    return connection


def test_a_window_has_room_for_whole_super_segments_of_a_client_on_this_host():
    client = ScriptedClient()
    connection = local_connection(client)
    whole = connection.sender.largest_segment
    client.send(ACK, seq=1, ack=1, payload=bytes(whole))
    (ack,) = client.receive()
    assert ack.window == 3 * whole // 128
    connection.take(whole)
    client.stack.receive([client.packet(ACK, seq=1 + whole, ack=1, payload=bytes(whole))], 0, client.now)
    connection.take(whole)
    (ack,) = client.receive()  # once the owner had its turn
    assert ack.window == 4 * whole // 128 < RECEIVE_LIMIT // 128


def test_nothing_is_sent_beyond_the_clients_window():
    client = ScriptedClient()
    connection = client.establish(window=3000)
    connection.send([bytes(10_000)], client.now)
    segments = client.receive()
    assert sum(len(segment.payload) for segment in segments) == 2920  # whole segments (§3.8.6.2.1)
    client.send(ACK, seq=1, ack=2921, window=0)
    assert client.receive() == []
    client.send(ACK, seq=1, ack=2921, window=20_000)
    assert sum(len(segment.payload) for segment in client.receive()) == 7080


def test_a_closed_window_is_probed_for_ever_and_a_lost_update_survived():
    client = ScriptedClient()
    connection = client.establish(window=0)
    connection.send([b"hello"], client.now)
    assert client.receive() == []
    probes = 0
    for _ in range(40):
        client.advance(60)
        for segment in client.receive():
            assert segment == Segment("A", seq=0, ack=1)  # one below SND.NXT: not acceptable, so it is answered
            probes += 1
        client.send(ACK, seq=1, ack=1, window=0)
    assert probes > 30
    client.send(ACK, seq=1, ack=1, window=100)
    assert client.receive() == [Segment("PA", seq=1, ack=1, payload=b"hello")]


def test_silence_on_probes_ends_the_connection():
    client = ScriptedClient()
    connection = client.establish(window=0)
    connection.send([b"hello"], client.now)
    client.advance(1000)
    assert client.receive()[-1].flags == "RA"
    assert connection.was_reset


def test_lost_data_is_sent_again_until_acknowledged():
    client = ScriptedClient()
    connection = client.establish()
    connection.send([b"hello"], client.now)
    first = client.receive()
    client.advance(1.0)
    assert client.receive() == first
    client.advance(2.0)
    assert client.receive() == first
    client.send(ACK, seq=1, ack=6)
    client.advance(100)
    assert client.receive() == []
    assert connection.sender.retransmissions == 2


def test_three_duplicate_acks_resend_one_segment_and_partial_acks_the_next():
    # RFC 5681 section 3.2, RFC 6582 section 3.2.
    client = ScriptedClient()
    connection = client.establish()
    connection.send([bytes(14_600)], client.now)
    assert len(client.receive()) == 10
    for _ in range(2):
        client.send(ACK, seq=1, ack=1)
    assert client.receive() == []
    client.send(ACK, seq=1, ack=1)
    assert client.receive() == [Segment("PA", seq=1, ack=1, payload=bytes(1460))]
    client.send(ACK, seq=1, ack=4381)
    assert Segment("PA", seq=4381, ack=1, payload=bytes(1460)) in client.receive()
    client.send(ACK, seq=1, ack=14_601)
    assert client.receive() == []
    assert connection.sender.retransmissions == 2


def test_a_super_segment_is_one_packet_and_payload_is_not_copied():
    client = ScriptedClient()
    connection = client.establish(options=SCALED)
    connection.sender.congestion.window = 1 << 20
    payload = bytearray(60_000)
    connection.send([payload], client.now)
    (packet,) = client.stack.outgoing
    assert packet[2] is payload
    vnet = virtio_net.HEADER.unpack_from(packet[0])
    assert vnet == (virtio_net.NEEDS_CSUM, virtio_net.GSO_TCPV4, 40, 1460, 20, 16)
    assert len(client.receive()) == 42


def test_partial_acks_of_a_super_segment_resend_only_the_rest():
    client = ScriptedClient()
    connection = client.establish(options=SCALED)
    connection.sender.congestion.window = 1 << 20
    text = bytes(i & 0xFF for i in range(30_000))
    connection.send([text[:100], text[100:20_000], text[20_000:]], client.now)
    client.receive()
    client.send(ACK, seq=1, ack=10_001)
    client.advance(1.0)
    (again,) = client.receive()
    assert again == Segment("PA", seq=10_001, ack=1, payload=text[10_000:11_460])


def test_the_owner_is_told_when_there_is_room_again():
    client = ScriptedClient()
    connection = client.establish(options=SCALED)
    connection.sender.congestion.window = 1 << 20
    client.send(ACK, seq=1, ack=1, window=0xFFFF)
    while connection.send_room > 0:
        connection.send([bytes(min(65_536, connection.send_room))], client.now)
    client.receive()
    client.stack.changed.clear()
    connection.notified = False
    client.send(ACK, seq=1, ack=1 + SEND_LIMIT // 2)
    assert client.stack.changed == [connection]
    assert connection.send_room == SEND_LIMIT // 2


def test_many_tiny_pieces_cost_little_memory():
    client = ScriptedClient()
    connection = client.establish()
    for i in range(5000):
        client.send(ACK, seq=1 + i, ack=1, payload=b"x")
    assert connection.readable == 5000
    assert len(connection.receiver.pieces) < 20
    connection.sender.window = 0
    for _ in range(5000):
        connection.send([b"y"], client.now)
    assert len(connection.sender.unsent) < 20


@pytest.mark.parametrize("flags", [ACK, ACK | PSH, ACK | FIN])
def test_data_in_reply_to_the_syn_ack_counts(flags):
    client = ScriptedClient()
    client.send(SYN, seq=0, options=SCALED)
    client.connection.accept(client.now)
    client.receive()
    client.send(flags, seq=1, ack=1, payload=b"early bird")
    assert taken(client.connection) == b"early bird"
    assert client.connection.at_eof == bool(flags & FIN)


def test_keep_alive_probes_an_idle_client_and_gives_a_dead_one_up():
    client = ScriptedClient()
    connection = client.establish()
    client.advance(7100)
    assert client.receive() == []
    client.advance(200)
    assert client.receive()[0] == Segment("A", seq=0, ack=1)
    client.send(ACK, seq=1, ack=1)
    client.advance(7100)
    assert not [s for s in client.receive() if s.flags != "A"]
    assert not connection.closed
    client.advance(7200 + 75 * 12)
    assert client.receive()[-1].flags == "RA"
    assert connection.was_reset


def test_a_client_that_closed_its_side_is_asked_sooner_whether_it_is_still_there():
    # RFC 9293 §3.8.4, but after 75 s: kernels forget a closed socket after a minute of silence, and then the far side
    # would keep its half, and our descriptor, for two hours. Found by an hour of mixed load.
    client = ScriptedClient()
    connection = client.establish()
    client.send(FIN | ACK, seq=1, ack=1)
    client.advance(1)
    assert client.receive() == [Segment("A", seq=1, ack=2)]
    client.advance(60)
    assert client.receive() == []
    client.advance(30)
    assert client.receive() == [Segment("A", seq=0, ack=2)]
    client.send(ACK, seq=2, ack=1)  # it only waits for the answer
    client.advance(90)
    assert client.receive() == [Segment("A", seq=0, ack=2)]
    client.send(RST, seq=2)  # and now it is gone
    assert connection.was_reset


def test_a_clients_keep_alive_is_answered():
    client = ScriptedClient()
    client.establish()
    client.send(ACK, seq=0, ack=1)
    assert client.receive() == [Segment("A", seq=1, ack=1)]


def test_a_wrong_checksum_is_dropped():
    client = ScriptedClient()
    connection = client.establish()
    packet = bytearray(client.packet(ACK, seq=1, ack=1, payload=b"hello"))
    packet[-1] ^= 1
    client.send_packets([bytes(packet)])
    assert connection.readable == 0
    assert client.stack.dropped == 1


def sizes(client):
    """Bytes of payload of each packet, super-segments uncut, that left since."""
    client.stack.flush()
    packets, client.stack.outgoing = client.stack.outgoing, []
    return [sum(map(len, packet[2:])) for packet in packets]


def test_part_of_a_super_segment_waits_for_the_rest_while_more_is_to_come():
    client = ScriptedClient()
    connection = local_connection(client)
    whole = connection.sender.largest_segment
    connection.send([bytes(whole + 1000)], client.now, more=True)
    assert sizes(client) == [whole]
    connection.send([bytes(whole)], client.now, more=True)
    assert sizes(client) == [whole]
    connection.send([bytes(10)], client.now)
    assert sizes(client) == [1010]


@pytest.mark.parametrize("ends", [False, True])
def test_part_of_a_super_segment_does_not_wait_when_nothing_is_in_flight_or_nothing_follows(ends):
    client = ScriptedClient()
    connection = local_connection(client)
    whole = connection.sender.largest_segment
    connection.send([bytes(whole + 1000)], client.now, more=True)
    assert sizes(client) == [whole]
    if ends:
        connection.close_write(client.now)
    else:
        client.send(ACK, seq=1, ack=1 + whole)
    assert sizes(client) == [1000]
    connection.send([bytes(500)], client.now, more=True)
    client.advance(1e-3)
    client.send(ACK, seq=1, ack=1 + whole + 1000)
    assert sum(sizes(client)) == (0 if ends else 500)


def test_a_client_on_this_host_may_be_sent_more_while_it_takes_what_came_before():
    assert local_connection(ScriptedClient()).send_room == 2 * SEND_LIMIT
    assert ScriptedClient().establish(options=SCALED).send_room == SEND_LIMIT
