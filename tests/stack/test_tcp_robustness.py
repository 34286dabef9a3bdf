"""Against strangers and bad paths: RFC 5961, 6191, 5927, 1191/8201, 4821, 1122; giving up; silly windows."""

from __future__ import annotations

import pytest

from tunflow.stack.icmp import Reason
from tunflow.stack.tcp.receiver import CHALLENGE_PERIOD, CHALLENGES
from tunflow.stack.tcp.state import State
from tunflow.testing.packet_script import ScriptedClient, Segment
from tunflow.wire.tcp import ACK, FIN, RST, SYN, Options

SCALED = Options(mss=1460, window_scale=7)


@pytest.mark.parametrize("flags", [RST, SYN, SYN | ACK])
def test_rfc5961_7_challenge_acks_are_rationed(flags):
    client = ScriptedClient()
    connection = client.establish()
    for _ in range(50):
        client.send(flags, seq=100, ack=1)
    assert len(client.receive()) == CHALLENGES
    client.now += CHALLENGE_PERIOD
    client.send(flags, seq=100, ack=1)
    assert len(client.receive()) == 1
    assert not connection.closed


def test_rfc5961_4_2_a_syn_is_challenged_whatever_its_number():
    client = ScriptedClient()
    connection = client.establish()
    for seq in (-5000, 0, 1, 50_000_000):
        client.send(SYN, seq=seq)
        assert client.receive() == [Segment("A", seq=1, ack=1)]
    assert connection.state is State.ESTABLISHED


def test_rfc5961_5_2_data_with_an_ack_from_nowhere_is_not_taken():
    client = ScriptedClient()
    connection = client.establish(window=1000)
    client.send(ACK, seq=1, ack=1 - 1001, payload=b"evil")
    assert connection.readable == 0
    assert client.receive() == [Segment("A", seq=1, ack=1)]
    client.send(ACK, seq=1, ack=1 - 1000, payload=b"late")
    assert connection.take(10) == [b"late"]


def lingering(options=None):
    client = ScriptedClient()
    stamps = {} if options is None else {"options": options}
    if options is None:
        connection = client.establish()
    else:
        client.send(SYN, seq=0, options=options)
        connection = client.connection
        connection.accept(client.now)
        client.receive()
        client.send(ACK, seq=1, ack=1, **stamps)
    connection.close_write(client.now)
    client.send(ACK | FIN, seq=1, ack=2, **stamps)
    client.receive()
    assert connection.closed
    return client


def stamped(value):
    return Options(timestamps=(value, 0))


def test_rfc6191_2_a_later_timestamp_takes_the_place_whatever_the_number():
    client = lingering(stamped(1000))
    client.send(SYN, seq=-70000, options=stamped(1001))
    assert len(client.stack.requests) == 1


def test_rfc6191_2_with_the_same_timestamp_the_number_decides():
    client = lingering(stamped(1000))
    client.send(SYN, seq=-70000, options=stamped(1000))
    (answer,) = client.receive()
    assert answer == Segment("A", seq=2, ack=2)
    assert answer.options.timestamps is not None  # RFC 7323 §3.2
    client.send(SYN, seq=70000, options=stamped(1000))
    assert len(client.stack.requests) == 1


def test_rfc6191_2_an_older_timestamp_is_an_old_duplicate():
    client = lingering(stamped(1000))
    client.send(SYN, seq=70000, options=stamped(999))
    assert client.stack.requests == []


def test_rfc9293_3_10_7_4_a_repeated_fin_in_time_wait_is_answered_and_waits_anew():
    client = lingering()
    client.advance(1.5)
    client.send(ACK | FIN, seq=1, ack=2)
    assert client.receive() == [Segment("A", seq=2, ack=2)]
    client.advance(1.5)
    client.send(ACK, seq=2, ack=2)
    assert client.receive() == [Segment("A", seq=2, ack=2)]


# ICMP.


def in_flight(size=14_600):
    client = ScriptedClient()
    connection = client.establish(options=SCALED)
    connection.sender.congestion.window = 1 << 20
    connection.send([bytes(size)], client.now)
    client.receive()
    return client, connection


def report(client, mtu, seq=1):
    number = (client.stack_isn + seq) & 0xFFFFFFFF
    client.stack.path_mtu(client.source, client.target, number, mtu, client.now)


def test_rfc1191_6_5_a_smaller_path_mtu_cuts_and_sends_again():
    client, connection = in_flight()
    window = connection.sender.congestion.window
    report(client, 1000)
    again = client.receive()
    assert [len(segment.payload) for segment in again] == [960] * 15 + [200]
    assert again[0].seq == 1
    assert connection.sender.congestion.window == window  # RFC 1191 §6.5: no sign of congestion
    client.send(ACK, seq=1, ack=14_601)
    connection.send([bytes(2000)], client.now)
    assert [len(segment.payload) for segment in client.receive()] == [960, 960, 80]


@pytest.mark.parametrize(("mtu", "seq"), [(1000, 0), (1000, 20_000), (1500, 1), (9000, 1)])
def test_rfc5927_7_a_report_that_quotes_nothing_in_flight_or_says_nothing_new_is_ignored(mtu, seq):
    client, connection = in_flight()
    report(client, mtu, seq)
    assert client.receive() == []
    assert connection.mss == 1460


def test_rfc5927_7_no_report_makes_packets_silly():
    client, connection = in_flight()
    report(client, 68)
    assert connection.mss == 552 - 40


def test_rfc8201_4_not_below_1280_in_ipv6():
    client = ScriptedClient(source="fd00::1", target="2001:db8::80")
    connection = client.establish(mss=1440)
    connection.send([bytes(3000)], client.now)
    client.receive()
    report(client, 600)
    assert connection.mss == 1220


def test_a_report_about_no_connection_is_ignored():
    client = ScriptedClient()
    client.stack_isn = 0
    report(client, 1000)
    client.stack.unreachable_reported(client.source, client.target, 1, Reason.PORT, client.now)
    assert client.receive() == []


def test_rfc4821_7_7_a_path_that_swallows_large_packets_is_found_out():
    client, connection = in_flight(2920)
    sizes = []
    for _ in range(6):
        client.advance(connection.sender.rtt.rto)
        sizes += [len(segment.payload) for segment in client.receive()]
    assert sizes[:5] == [1460, 1460, 1024, 1024, 536]
    client.send(ACK, seq=1, ack=537)
    assert max(len(segment.payload) for segment in client.receive()) <= 536


def test_rfc8201_4_after_ten_minutes_a_larger_packet_is_tried_again_and_then_after_twenty():
    client, connection = in_flight(2920)

    def too_big():
        number = (connection.sender.next - 1) & 0xFFFFFFFF
        client.stack.path_mtu(client.source, client.target, number, 1000, client.now)
        client.send(ACK, seq=1, ack=connection.sender.next - 1 - client.stack_isn + 1)
        client.receive()

    def largest():
        connection.send([bytes(3000)], client.now)
        found = max(len(segment.payload) for segment in client.receive())
        client.send(ACK, seq=1, ack=connection.sender.next - client.stack_isn)
        return found

    too_big()
    client.advance(590)
    assert largest() == 960
    client.advance(30)
    assert largest() == 1460
    connection.send([bytes(3000)], client.now)
    too_big()
    client.advance(1100)
    assert largest() == 960
    client.advance(200)
    assert largest() == 1460


def test_rfc9293_3_9_2_2_a_hard_error_ends_an_attempt_and_a_soft_one_does_not():
    client = ScriptedClient()
    connection = client.be_connected()
    client.receive()

    def unreachable(reason, seq=0):
        number = (client.stack_isn + seq) & 0xFFFFFFFF
        client.stack.unreachable_reported(client.source, client.target, number, reason, client.now)

    unreachable(Reason.HOST)
    assert connection.state is State.SYN_SENT
    assert connection.soft_error is Reason.HOST
    unreachable(Reason.PORT, seq=7)  # RFC 5927 §4.1: it quotes what was not sent
    assert connection.state is State.SYN_SENT
    unreachable(Reason.PORT)
    assert connection.closed
    assert connection.was_reset
    assert client.stack.changed == [connection]


@pytest.mark.parametrize("reason", list(Reason))
def test_rfc5927_5_2_every_error_is_soft_for_an_open_connection(reason):
    client, connection = in_flight()
    number = (client.stack_isn + 1) & 0xFFFFFFFF
    client.stack.unreachable_reported(client.source, client.target, number, reason, client.now)
    assert connection.state is State.ESTABLISHED
    assert connection.soft_error is reason


# Giving up, and silly windows.


def test_rfc5482_a_user_timeout_ends_it_sooner():
    client = ScriptedClient()
    connection = client.establish()
    connection.user_timeout = 5.0
    connection.send([b"anybody?"], client.now)
    client.advance(4.9)
    assert not connection.closed
    client.advance(0.2)
    assert connection.closed
    assert connection.was_reset


def test_rfc9293_3_8_3_data_is_repeated_for_at_least_100_seconds():
    client = ScriptedClient()
    connection = client.establish()
    connection.send([b"anybody?"], client.now)
    client.advance(100)
    assert not connection.closed
    client.advance(500)
    assert client.receive()[-1].flags == "RA"
    assert connection.closed


def test_rfc9293_3_8_6_1_a_window_that_closed_over_data_in_flight_is_waited_for():
    client = ScriptedClient()
    connection = client.establish()
    connection.send([b"hello"], client.now)
    for _ in range(30):
        client.advance(60)
        client.receive()
        client.send(ACK, seq=1, ack=1, window=0)
    assert not connection.closed
    client.send(ACK, seq=1, ack=6, window=0)
    assert connection.sender.una == connection.sender.next


def test_rfc9293_3_8_6_2_1_a_silly_window_is_not_used_at_once():
    client = ScriptedClient()
    connection = client.establish(window=20_000)
    connection.send([bytes(10_000)], client.now)
    client.receive()
    client.send(ACK, seq=1, ack=8761, window=0)
    client.send(ACK, seq=1, ack=10_001, window=0)
    connection.send([bytes(5000)], client.now)
    client.send(ACK, seq=1, ack=10_001, window=10)
    assert client.receive() == []
    client.advance(0.3)
    assert [len(segment.payload) for segment in client.receive()] == [10]  # (4): not for ever
    client.send(ACK, seq=1, ack=10_011, window=20_000)
    assert sum(len(segment.payload) for segment in client.receive()) == 4990


def test_small_pieces_for_a_client_that_does_not_acknowledge_cost_few_records():
    client = ScriptedClient()
    connection = client.establish(options=SCALED)
    client.send(ACK, seq=1, ack=1)
    for _ in range(5000):
        connection.send([b"x"], client.now)
    assert len(connection.sender.flight) <= 520
    assert connection.sender.unsent_size < 1460
