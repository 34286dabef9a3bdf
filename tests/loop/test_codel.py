"""When something of a queue is dropped, and what that does to a sender; and datagrams that waited in a socket."""

from __future__ import annotations

import socket
import time
from collections import deque

import pytest

from tunflow.loop import datagram_batches
from tunflow.loop.codel import INTERVAL, TARGET, CoDel
from tunflow.loop.datagram_batches import SINGLES, DatagramBatches


def test_a_burst_costs_nothing():
    queue = CoDel()
    assert sum(queue.surplus(10 * TARGET, moment / 1000) for moment in range(int(INTERVAL * 1000))) == 0
    assert queue.surplus(0, INTERVAL) == 0
    assert queue.surplus(10 * TARGET, INTERVAL + 0.001) == 0  # another burst


def test_the_longer_it_stands_the_more_is_dropped():
    queue = CoDel()
    drops = [sum(queue.surplus(10 * TARGET, second + tick / 1000) for tick in range(1000)) for second in range(4)]
    assert drops[0] >= 0.5 / INTERVAL
    assert drops == sorted(drops)
    assert queue.surplus(0, 4) == 0


def test_a_slow_reader_makes_up_for_the_pauses():
    queue = CoDel()
    for moment in (0, 0.1):
        queue.surplus(1, moment)
    assert queue.surplus(1, 1.0) > 10


def test_a_queue_that_stands_again_soon_is_thinned_out_from_where_it_was():
    queue = CoDel()
    for tick in range(3000):
        queue.surplus(1, tick / 1000)
    queue.surplus(0, 3)
    soon = sum(queue.surplus(1, 3.001 + tick / 1000) for tick in range(300))
    queue.surplus(0, 100)
    late = sum(queue.surplus(1, 100.001 + tick / 1000) for tick in range(300))
    assert soon > 2 * late


@pytest.mark.parametrize("sheds", [False, True])
def test_a_sender_that_halves_for_each_loss_is_held_short(sheds: bool):
    """A window grows by one packet in a round trip and falls to seven tenths by a loss; one packet leaves in 10 us."""
    watch = CoDel()
    waiting: deque[float] = deque()
    now, window, in_flight, lost_at, waits = 0.0, 1000.0, 0, 0.0, []
    for _ in range(100_000):
        now += 1e-5
        while in_flight < window and len(waiting) < 5000:
            waiting.append(now)
            in_flight += 1
        if waiting:
            waited = now - waiting.popleft()
            in_flight -= 1
            window += 1 / window
            waits.append(waited)
            if sheds and watch.surplus(waited, now) and now - lost_at > waited:
                window, lost_at = window * 0.7, now
    typical = sorted(waits[len(waits) // 2 :])[len(waits) // 4]
    assert (typical < 4 * TARGET) == sheds
    assert len(waits) > 95_000  # and the way is full


@pytest.fixture
def pair():
    """Batches, and a socket connected to theirs."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
    ):
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        far.connect(sock.getsockname())
        yield DatagramBatches(sock, sheds=True), DatagramBatches(far)


def read(batches: DatagramBatches) -> list[bytes]:
    return [datagram for batch, _ in batches.receive(100) for datagram in batch]


class Always(CoDel):
    """A queue that stands; what it was told."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def surplus(self, waited, now):
        self.waits.append(waited)
        return 1


@pytest.mark.interpreted
def test_of_bulk_the_head_is_dropped_and_nothing_else(pair, monkeypatch):
    monkeypatch.setattr(datagram_batches, "CoDel", Always)
    batches, far = pair
    bulk = [bytes((number,)) * 1000 for number in range(20)]
    far.send(bulk)
    assert read(batches) == bulk
    batches = DatagramBatches(batches.socket, sheds=True)
    far.send(bulk)
    assert read(batches) == bulk[1:]
    far.send([b"a" * 100] * 5)
    far.send([b"b" * 100])
    assert read(batches) == [b"a" * 100] * 5 + [b"b" * 100]


@pytest.mark.interpreted
def test_what_comes_one_by_one_is_thinned_out_too(pair, monkeypatch):
    """As from most servers of today, which do not join what they send."""

    class Each(Always):
        def surplus(self, waited, now):
            return len(self.waits) % 2 if super().surplus(waited, now) else 0

    monkeypatch.setattr(datagram_batches, "CoDel", Each)
    batches, far = pair
    batches = DatagramBatches(batches.socket, sheds=True)
    bulk = [bytes((number,)) * 1000 for number in range(6)]
    for datagram in bulk:
        far.send([datagram])
    assert read(batches) == bulk[1::2]


def test_a_turn_takes_many_of_what_comes_one_by_one(pair):
    batches, far = pair
    for number in range(3 * SINGLES):
        far.send([bytes((number,))])
    assert len([*batches.receive(2)]) == 2 * SINGLES
    assert len([*batches.receive(2)]) == SINGLES
    for _ in range(3):
        far.send([b"x" * 1000] * 20)
    assert len([*batches.receive(2)]) == 2


@pytest.mark.interpreted
def test_how_long_a_datagram_waited_is_known(pair, monkeypatch):
    monkeypatch.setattr(datagram_batches, "CoDel", Always)
    batches, far = pair
    batches = DatagramBatches(batches.socket, sheds=True)
    far.send([b"x"])
    began = time.time_ns
    monkeypatch.setattr(datagram_batches.time, "time_ns", lambda: began() + 2_000_000_000)
    assert read(batches) == [b"x"]
    assert 2 <= batches.queue.waits[0] < 5
    assert batches.queue.waits[1] == 0  # it is empty
    monkeypatch.setattr(datagram_batches.time, "time_ns", lambda: began() + 3_600_000_000_000)
    far.send([b"x"])
    read(batches)
    assert batches.queue.waits[-2:] == [0, 0]  # the clock was set; and then there was nothing more


def test_a_device_that_is_always_full_is_thinned_out():
    queue = CoDel()
    small, large = b"s" * 60, b"l" * 1400
    batch = [small, large, large]
    assert all(queue.thinned(batch, 3, tick / 1000) == batch for tick in range(30))
    reads = [queue.thinned(batch, 3, 0.03 + tick / 1000) for tick in range(10)]
    assert [small, large] in reads
    assert queue.thinned([large], 3, 1) == [large]
    assert queue.thinned(batch, 3, 100) == batch
