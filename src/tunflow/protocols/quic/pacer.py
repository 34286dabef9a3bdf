"""Pacing by a timer that counts milliseconds.

aioquic lets 16 packets go at once and the next ones microseconds later. A wait of the event loop takes a millisecond at
least, so no more than 16 packets left in each: 170 Mbit/s, with a window 20 times as large unused. Here as much may
go at once as the rate has in two such waits; a window bounds it still.

Read first: RFC 9002 §7.7.
"""

from __future__ import annotations

from aioquic.quic.recovery import QuicPacketPacer

TIMER = 0.001
"""Seconds that the shortest wait takes (epoll_wait(2) counts milliseconds)."""


class Pacer(QuicPacketPacer):
    """aioquic's, whose bucket holds what is sent during two of the shortest waits."""

    def update_rate(self, congestion_window: int, smoothed_rtt: float) -> None:
        """As aioquic's."""
        super().update_rate(congestion_window, smoothed_rtt)
        self.bucket_max = max(self.bucket_max, 2 * TIMER)
