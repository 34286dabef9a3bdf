"""Virtual time and the pair: with machines written here, so that nothing depends on TCP."""

from __future__ import annotations

from math import inf

import pytest

from tunflow.testing.clock import EVENTS_AT_ONCE, START, Clock
from tunflow.testing.link import Conditions
from tunflow.testing.pair import End, Pair
from tunflow.testing.stream import PERIOD, Stream
from tunflow.wire import ipv4, protocols, udp, virtio_net
from tunflow.wire.checksum import pseudo_sum, transport_checksum

LEFT, RIGHT = bytes([198, 18, 0, 1]), bytes([198, 18, 0, 2])


class Alarm:
    """A machine that wants to be called at some times."""

    def __init__(self, *times: float) -> None:
        self.times = [START + time for time in times]
        self.called: list[float] = []

    def next_timeout(self):
        return min(self.times, default=None)

    def handle_timeout(self, now):
        self.called.append(now - START)
        self.times = [time for time in self.times if time > now]


class StopAndWait:
    """Sends numbered datagrams one by one, each until it is echoed; or is the one who echoes."""

    def __init__(self, source: bytes, target: bytes, count: int) -> None:
        self.outgoing = []
        self.wrong = 0
        self.got: list[int] = []
        self._addresses = source, target
        self._count = count
        self._next = 0
        self._due = inf if count == 0 else START

    def next_timeout(self):
        return self._due if self._due != inf else None

    def handle_timeout(self, now):
        self._due = now + 1.0
        self.send(self._next)

    def send(self, number):
        source, target = self._addresses
        payload = number.to_bytes(4, "big") * 10
        length = udp.HEADER_SIZE + len(payload)
        head = ipv4.build(source, target, protocols.UDP, length)
        partial = pseudo_sum(source, target, protocols.UDP, length)
        head += udp.build(7, 7, len(payload), checksum=partial)
        vnet = virtio_net.HEADER.pack(virtio_net.NEEDS_CSUM, virtio_net.GSO_NONE, 0, 0, 20, udp.CHECKSUM_OFFSET)
        self.outgoing.append((vnet, head, payload))

    def receive(self, packets, offset, now):
        for packet in packets:
            source, target = packet[12:16], packet[16:20]
            if transport_checksum(source, target, protocols.UDP, packet[20:]) or sum(packet[:20]) == 0:
                self.wrong += 1
                continue
            number = int.from_bytes(packet[28:32], "big")
            if self._count == 0:
                self.got.append(number)
                self.send(number)
            elif number == self._next:
                self._next += 1
                self._due = now if self._next < self._count else inf

    def flush(self):
        pass


def test_time_jumps_from_event_to_event():
    first, second = Alarm(5, 1), Alarm(3, 5)
    clock = Clock((first, second))
    while clock.jump():
        pass
    assert first.called == [1, 5]
    assert second.called == [3, 5]


def test_time_stops_at_the_limit():
    alarm = Alarm(2)
    clock = Clock((alarm,))
    assert not clock.jump(START + 1.5)
    assert clock.now == START + 1.5
    assert alarm.called == []
    assert clock.jump(START + 2)
    assert alarm.called == [2]


def test_a_machine_that_calls_itself_forever_is_found():
    alarm = Alarm(1)
    alarm.handle_timeout = lambda now: None
    clock = Clock((alarm,))
    for _ in range(EVENTS_AT_ONCE):
        clock.jump()
    with pytest.raises(AssertionError, match="time stands still"):
        clock.jump()


def test_packets_take_the_way_there_and_back():
    sender, echo = StopAndWait(LEFT, RIGHT, 5), StopAndWait(RIGHT, LEFT, 0)
    pair = Pair(End(sender), End(echo), Conditions(delay=0.25))
    assert pair.run(lambda: sender.next_timeout() is None, 60)
    assert echo.got == list(range(5))
    assert pair.now == START + 5 * 0.5


def test_the_ends_see_loss_and_damage_and_time_costs_nothing():
    sender, echo = StopAndWait(LEFT, RIGHT, 200), StopAndWait(RIGHT, LEFT, 0)
    pair = Pair(End(sender), End(echo), Conditions(delay=0.01, loss=0.1, corrupt=0.1, duplicate=0.1))
    assert pair.run(lambda: sender.next_timeout() is None, 3600)
    assert sorted(set(echo.got)) == list(range(200))
    assert len(echo.got) > 200
    assert sender.wrong
    assert echo.wrong
    assert pair.now - START > 50  # a second for each that was lost


def test_run_says_when_time_is_up():
    sender, echo = StopAndWait(LEFT, RIGHT, 5), StopAndWait(RIGHT, LEFT, 0)
    pair = Pair(End(sender), End(echo), Conditions(loss=1.0))
    assert not pair.run(lambda: sender.next_timeout() is None, 30)
    assert pair.now == START + 30


def test_an_owner_is_served_in_every_round():
    times = []
    pair = Pair(
        End(StopAndWait(LEFT, RIGHT, 1), times.append), End(StopAndWait(RIGHT, LEFT, 0)), Conditions(delay=0.25)
    )
    pair.wait(10)
    assert [time - START for time in times] == [0, 0, 0.25, 0.5]


def test_a_stream_knows_its_bytes_by_place():
    stream = Stream(1)
    text = b"".join(stream.piece(at, 1000) for at in range(0, 3 * PERIOD, 1000))
    assert stream.has(0, text)
    assert stream.has(PERIOD - 10, text[PERIOD - 10 : 2 * PERIOD + 10])
    assert not stream.has(1, text[:100])
    assert not stream.has(1460, text[:1460])
    assert not stream.has(0, text[:-1] + bytes([text[-1] ^ 1]))
    assert not Stream(2).has(0, text[:100])
