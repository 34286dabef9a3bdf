"""Pacing of a QUIC connection by a loop whose shortest wait is a millisecond."""

from __future__ import annotations

import pytest
from aioquic.quic.recovery import QuicPacketPacer
from test_quic_session import PIN, Pair

from tunflow.protocols.quic.pacer import TIMER, Pacer
from tunflow.protocols.quic.session import QUICPeer

WINDOW, ROUND_TRIP, SIZE = 600_000, 0.0015, 1350


def sent_in(pacer: QuicPacketPacer, waits: int) -> int:
    """Packets that leave in so many of the loop's waits, by who sends all that may go whenever it is awake."""
    pacer.update_rate(WINDOW, ROUND_TRIP)
    packets = 0
    for number in range(waits):
        now = 10 + number * TIMER
        while pacer.next_send_time(now) is None:
            pacer.update_after_send(now)
            packets += 1
    return packets


def test_the_rate_is_reached_though_waits_are_long() -> None:
    due = 100 * TIMER * WINDOW / ROUND_TRIP / SIZE
    assert sent_in(Pacer(max_datagram_size=SIZE), 100) == pytest.approx(due, rel=0.05)
    assert sent_in(QuicPacketPacer(max_datagram_size=SIZE), 100) < due / 10


def test_a_connection_has_it() -> None:
    """With a loop that comes by each 10 ms what leaves at once grows with the window; aioquic's pacer stays at 17."""
    pair = Pair(QUICPeer("s.example", ("h3",), insecure=True, pinned=PIN))
    pair.move()
    stream = pair.session.open_stream()
    most = 0
    outgoing = pair.session.outgoing

    def counted(now: float) -> list[bytes]:
        nonlocal most
        datagrams = outgoing(now)
        most = max(most, len(datagrams))
        return datagrams

    pair.session.outgoing = counted
    for _ in range(60):
        if room := min(stream.send_room, 200_000):
            stream.send([bytes(room)], pair.now)
        pair.move(2)
    assert most > 40
