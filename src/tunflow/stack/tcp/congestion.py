"""Congestion control: slow start (RFC 5681), and CUBIC for everything else (RFC 9438).

What is lost and when to send again is the scoreboard's business; this file knows one number, the window, and what
acknowledged and lost bytes do to it. Growth counts acknowledged bytes (RFC 3465), without its limit of two segments per
ACK: a peer behind a TUN with offload acknowledges a super-segment of forty-odd segments at once, and the hop cannot
lose what was cut there.
"""

from __future__ import annotations

INITIAL_SEGMENTS = 10
"""RFC 6928: the initial window is ten segments."""

BETA = 0.7
"""RFC 9438 §4.6: the multiplicative decrease."""

C = 0.4
"""RFC 9438 §5.1: how fast the window grows, in segments per second cubed."""

_FRIENDLY = 3 * (1 - BETA) / (1 + BETA)
"""RFC 9438 §4.3: the growth per round trip, in segments, that makes decreasing by BETA fair to Reno."""

_SLACK = 3
"""Segments by which what is in flight may stay below the window that still counts as used up."""


class Cubic:
    """The congestion window in bytes, and the threshold below which it grows by slow start."""

    __slots__ = ("_epoch", "_estimate", "_k", "_origin", "_prior", "mss", "peak", "threshold", "window")

    def __init__(self, mss: int) -> None:
        self.mss = mss
        self.window = INITIAL_SEGMENTS * mss
        self.threshold = 1 << 30
        self.peak = 0.0
        """W_max of RFC 9438, in segments like all that follows."""
        self._prior = 0.0  # cwnd_prior
        self._origin = 0.0  # W_max of the running epoch
        self._estimate = 0.0  # W_est
        self._k = 0.0
        self._epoch: float | None = None

    def acknowledged(self, size: int, flight: int, now: float, rtt: float) -> None:
        """`size` of the `flight` bytes were acknowledged, outside of fast recovery; `rtt` is the smoothed one."""
        window = self.window
        if window < self.threshold:
            if 2 * flight > window:  # RFC 9438 §5.8, RFC 7661: a window that is not used says nothing about the path
                self.window = window + size
        elif flight + _SLACK * self.mss >= window:
            self._avoid(size, now, rtt)

    def lost(self, flight: int) -> None:
        """A loss was found by its duplicate ACKs, with `flight` bytes in flight (§4.6, §4.7)."""
        self._prior = window = self.window / self.mss
        self.peak = window * (1 + BETA) / 2 if window < self.peak else window  # fast convergence
        # What is in flight counts what was SACKed or lost long ago: it may be far above what the path was given.
        self.threshold = max(int(min(flight, self.window) * BETA), 2 * self.mss)
        self.window = self.threshold
        self._epoch = None

    def timed_out(self, flight: int, again: bool) -> None:
        """The retransmission timer fired, perhaps `again` for the same data: back to one segment (§4.8)."""
        if not again:
            self.lost(flight)
        self.window = self.mss
        self.peak = 0.0
        self._epoch = None

    def restore(self, window: int, threshold: int) -> None:
        """The loss was none (RFC 4015): take back what it did."""
        self.window = max(self.window, window)
        self.threshold = threshold
        self._epoch = None

    def restart(self) -> None:
        """Nothing was sent for a whole time-out: what is known of the path has aged (RFC 5681 section 4.1)."""
        self.window = min(self.window, INITIAL_SEGMENTS * self.mss)
        self._epoch = None

    def _avoid(self, size: int, now: float, rtt: float) -> None:
        """Congestion avoidance (RFC 9438 §4.2 to §4.5)."""
        window = self.window / self.mss
        if self._epoch is None:
            self._epoch = now
            self._origin = max(self.peak, window)
            self._k = ((self._origin - window) / C) ** (1 / 3)
            self._estimate = window
        segments = size / self.mss
        elapsed = now - self._epoch - self._k
        self._estimate += (1.0 if self._estimate >= self._prior else _FRIENDLY) * segments / window
        if self._origin + C * elapsed**3 < self._estimate:  # the Reno-friendly region
            grown = max(window, self._estimate)
        else:
            target = min(max(self._origin + C * (elapsed + rtt) ** 3, window), 1.5 * window)
            grown = min(window + (target - window) / window * segments, target)
        self.window = int(grown * self.mss)
