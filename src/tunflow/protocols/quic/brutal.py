"""Brutal: as fast as the user says, whatever is lost; what Hysteria clients with a bandwidth do.

Read first: Hysteria 2's "Protocol", "Congestion Control" (v2.hysteria.network/docs/developers/Protocol). The window is
what the rate fills in a round trip, and more by as much as is lost: aioquic's pacer sends a window in a round trip.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import cache
from typing import Any

from aioquic.quic.congestion.base import QuicCongestionControl, register_congestion_control

SAMPLES = 50
"""Packets without which nothing is known of losses."""
REMEMBERED = 5.0
"""Seconds of which losses count."""
LEAST_ACKED = 0.8
"""Of the packets; what is lost beyond that is not sent in addition."""
_FIRST_RTT = 0.1


class Brutal(QuicCongestionControl):
    """Sends `rate` bytes a second."""

    def __init__(self, rate: int, *, max_datagram_size: int) -> None:
        super().__init__(max_datagram_size=max_datagram_size)
        self._rate = rate
        self._least = 10 * max_datagram_size
        self._rtt = _FIRST_RTT
        self._outcomes: deque[tuple[float, int, int]] = deque()
        """When, how many packets were acknowledged, and how many were lost."""
        self._resize()

    def on_packet_sent(self, *, packet: Any) -> None:
        """As in aioquic."""
        self.bytes_in_flight += packet.sent_bytes

    def on_packet_acked(self, *, now: float, packet: Any) -> None:
        """As in aioquic."""
        self.bytes_in_flight -= packet.sent_bytes
        self._note(now, 1, 0)

    def on_packets_expired(self, *, packets: Iterable[Any]) -> None:
        """As in aioquic."""
        for packet in packets:
            self.bytes_in_flight -= packet.sent_bytes

    def on_packets_lost(self, *, now: float, packets: Iterable[Any]) -> None:
        """As in aioquic."""
        count = 0
        for packet in packets:
            self.bytes_in_flight -= packet.sent_bytes
            count += 1
        self._note(now, 0, count)

    def on_persistent_congestion(self) -> None:
        """Nothing: the user knows better."""

    def on_rtt_measurement(self, *, now: float, rtt: float) -> None:  # noqa: ARG002
        """As in aioquic."""
        self._rtt = self._rtt * 0.875 + rtt * 0.125
        self._resize()

    def _note(self, now: float, acked: int, lost: int) -> None:
        outcomes = self._outcomes
        second = float(int(now))
        if outcomes and outcomes[-1][0] == second:
            _, before, before_lost = outcomes[-1]
            outcomes[-1] = second, before + acked, before_lost + lost
        else:
            outcomes.append((second, acked, lost))
            while outcomes[0][0] < now - REMEMBERED:
                outcomes.popleft()
            self._resize()

    def _resize(self) -> None:
        acked = sum(each[1] for each in self._outcomes)
        total = acked + sum(each[2] for each in self._outcomes)
        share = max(LEAST_ACKED, acked / total) if total >= SAMPLES else 1.0
        self.congestion_window = max(self._least, int(self._rate * self._rtt / share))


@cache
def brutal(rate: int) -> str:
    """aioquic's name of the congestion control that sends `rate` bytes a second."""
    name = f"brutal-{rate}"
    register_congestion_control(name, lambda *, max_datagram_size: Brutal(rate, max_datagram_size=max_datagram_size))
    return name
