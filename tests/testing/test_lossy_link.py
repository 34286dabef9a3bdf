"""The wire: each fault does what its name says, in the measure that was asked for, and nothing else."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tunflow.testing.link import Bursts, Conditions, WireDirection
from tunflow.wire import icmp, ipv4, ipv6, protocols
from tunflow.wire.checksum import checksum

NUMBER = 20_000


def packet(number: int, size: int = 100) -> bytes:
    return number.to_bytes(4, "big") + bytes(size - 4)


def numbers(packets: list[bytes]) -> list[int]:
    return [int.from_bytes(each[:4], "big") for each in packets]


def send_many(link: WireDirection, count: int = NUMBER, gap: float = 0.001) -> list[int]:
    for number in range(count):
        link.send(packet(number), number * gap)
    return numbers(drained(link))


def drained(link: WireDirection) -> list[bytes]:
    while (due := link.next_timeout()) is not None:
        link.handle_timeout(due)
    return link.take()


def test_a_good_wire_keeps_all_in_order():
    link = WireDirection(Conditions(delay=0.01, jitter=0.05))
    assert send_many(link) == list(range(NUMBER))


def test_a_packet_takes_the_delay():
    link = WireDirection(Conditions(delay=0.25))
    link.send(packet(1), 10.0)
    assert link.next_timeout() == 10.25
    link.handle_timeout(10.24)
    assert link.take() == []
    link.handle_timeout(10.25)
    assert numbers(link.take()) == [1]
    assert link.next_timeout() is None


def test_jitter_is_spread_up_to_its_measure():
    link = WireDirection(Conditions(delay=1.0, jitter=0.5))
    delays = []
    for number in range(1000):
        now = number * 2.0  # apart enough that no packet waits for the one before it
        link.send(packet(number), now)
        due = link.next_timeout()
        assert due is not None
        delays.append(due - now)
        drained(link)
    assert 1.0 <= min(delays) < 1.01
    assert 1.49 < max(delays) <= 1.5


@pytest.mark.parametrize("loss", [0.001, 0.05, 0.5])
def test_loss_is_as_much_as_asked(loss):
    link = WireDirection(Conditions(loss=loss), seed=1)
    came = send_many(link)
    assert came == sorted(came)
    assert NUMBER - len(came) == link.counts.lost == pytest.approx(NUMBER * loss, rel=0.3)


def test_bursts_lose_packets_in_a_row():
    # Gilbert-Elliott: bursts begin every 1 / begin packets and are 1 / end packets long on average.
    link = WireDirection(Conditions(bursts=Bursts(begin=0.01, end=0.2)), seed=1)
    came = send_many(link)
    gaps = [after - before - 1 for before, after in pairwise(came) if after - before > 1]
    assert sum(gaps) / len(gaps) == pytest.approx(5, rel=0.2)
    assert len(gaps) == pytest.approx(NUMBER / (100 + 5), rel=0.2)


def test_the_bad_state_may_let_some_through():
    link = WireDirection(Conditions(bursts=Bursts(begin=1.0, end=0.0, loss=0.25)))
    send_many(link)
    assert link.counts.lost == pytest.approx(NUMBER / 4, rel=0.1)


def test_a_duplicate_follows_its_original():
    link = WireDirection(Conditions(duplicate=0.1))
    came = send_many(link)
    assert came == sorted(came)
    assert set(came) == set(range(NUMBER))
    assert len(came) - NUMBER == link.counts.duplicated == pytest.approx(NUMBER * 0.1, rel=0.1)


def test_a_reordered_packet_is_overtaken_by_those_of_the_time_asked():
    link = WireDirection(Conditions(reorder=0.01, overtaken_for=0.0045, delay=0.01))
    came = send_many(link, gap=0.001)
    assert sorted(came) == list(range(NUMBER))
    place = {number: index for index, number in enumerate(came)}
    late = [number for number in range(NUMBER - 5) if place[number] > place[number + 1]]
    assert len(late) == pytest.approx(NUMBER * 0.01, rel=0.3)
    alone = [number for number in late if not {number + step for step in range(-5, 6) if step} & set(late)]
    assert alone
    assert all(came.index(number) == number + 4 for number in alone)


def test_corruption_flips_one_bit():
    link = WireDirection(Conditions(corrupt=0.1))
    original = bytes(100)
    for number in range(1000):
        link.send(original, float(number))
    damaged = [each for each in drained(link) if each != original]
    assert len(damaged) == link.counts.corrupted == pytest.approx(100, rel=0.3)
    assert all(sum(byte.bit_count() for byte in each) == 1 and len(each) == 100 for each in damaged)
    assert len(set(damaged)) > 50
    assert all(checksum(each) != checksum(original) for each in damaged)  # RFC 1071


def test_the_rate_spaces_packets_out():
    link = WireDirection(Conditions(rate=8000, delay=1.0))  # 1,000 bytes per second
    for number in range(3):
        link.send(packet(number, 500), 0.0)
    arrivals = []
    while (due := link.next_timeout()) is not None:
        arrivals.append(due)
        link.handle_timeout(due)
    assert arrivals == [1.5, 2.0, 2.5]


def test_the_queue_drops_what_it_has_no_room_for():
    link = WireDirection(Conditions(rate=8000, buffer=1000))
    for number in range(4):
        link.send(packet(number, 400), 0.0)
    assert link.counts.overflowed == 2
    link.send(packet(4, 400), 0.1)  # 700 bytes not sent yet
    link.send(packet(5, 400), 0.25)  # 550
    assert numbers(drained(link)) == [0, 1, 5]


def test_a_packet_above_the_mtu_is_dropped_in_silence():
    link = WireDirection(Conditions(mtu=576))
    link.send(packet(1, 576), 0.0)
    link.send(packet(2, 577), 0.0)
    assert numbers(drained(link)) == [1]
    assert link.answers == []
    assert link.counts.too_big == 1


def test_a_packet_above_the_mtu_is_answered_if_asked():
    # RFC 1191 §4: destination unreachable, fragmentation needed, with the MTU and the start of the packet.
    link = WireDirection(Conditions(mtu=576, says_too_big=True))
    source, target = bytes([198, 18, 0, 1]), bytes([198, 51, 100, 1])
    original = ipv4.build(source, target, protocols.TCP, 1000) + bytes(1000)
    link.send(original, 0.0)
    (answer,) = link.answers
    header = ipv4.parse_untrusted(answer)
    assert header.dst == source
    message = icmp.parse_v4_untrusted(answer[header.header_length :])
    assert isinstance(message, icmp.PacketTooBig)
    assert message.mtu == 576
    assert bytes(message.quote) == original[: len(message.quote)]
    assert len(message.quote) >= 28


def test_ipv6_hears_packet_too_big():
    # RFC 4443 §3.2.
    link = WireDirection(Conditions(mtu=1280, says_too_big=True))
    source, target = bytes.fromhex("fd00" + "00" * 13 + "01"), bytes.fromhex("fd00" + "00" * 13 + "02")
    link.send(ipv6.build(source, target, protocols.TCP, 1400) + bytes(1400), 0.0)
    (answer,) = link.answers
    header = ipv6.parse_untrusted(answer)
    assert header.dst == source
    message = icmp.parse_v6_untrusted(header.src, header.dst, answer[ipv6.HEADER_SIZE :])
    assert isinstance(message, icmp.PacketTooBig)
    assert message.mtu == 1280


ALL = Conditions(
    loss=0.1, bursts=Bursts(0.01, 0.3), corrupt=0.1, duplicate=0.1, reorder=0.1, delay=0.01, jitter=0.01, rate=1e6
)


def test_the_same_seed_gives_the_same_wire():
    first, second, other = WireDirection(ALL, seed=7), WireDirection(ALL, seed=7), WireDirection(ALL, seed=8)
    came = send_many(first, 2000)
    assert came == send_many(second, 2000)
    assert came != send_many(other, 2000)


def test_what_is_lost_does_not_depend_on_time_or_other_faults():
    first = set(send_many(WireDirection(Conditions(loss=0.1), seed=3)))
    second = set(send_many(WireDirection(Conditions(loss=0.1, duplicate=0.2, jitter=0.1), seed=3), gap=0.0002))
    assert first == second


def test_conditions_change_for_what_is_sent_later():
    link = WireDirection(Conditions(delay=1.0))
    link.send(packet(1), 0.0)
    link.conditions = Conditions(loss=1.0)
    link.send(packet(2), 0.0)
    assert numbers(drained(link)) == [1]
