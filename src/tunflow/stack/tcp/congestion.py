"""Congestion control: slow start, congestion avoidance, fast recovery (RFC 5681, 6582).

Growth counts acknowledged bytes (RFC 3465), without its limit of two segments per ACK: a peer behind a TUN with
offload acknowledges a super-segment of forty-odd segments at once, and the hop cannot lose what was cut there.
"""

from __future__ import annotations

INITIAL_SEGMENTS = 10
"""RFC 6928: the initial window is ten segments."""

DUPLICATE_THRESHOLD = 3
"""RFC 5681 section 3.2: the third duplicate ACK starts fast retransmit."""


class NewReno:
    """The congestion window in bytes. `recover` is the sequence number whose ACK ends a recovery, None outside."""

    __slots__ = ("duplicates", "mss", "recover", "threshold", "window")

    def __init__(self, mss: int) -> None:
        self.mss = mss
        self.window = INITIAL_SEGMENTS * mss
        self.threshold = 1 << 30
        self.duplicates = 0
        self.recover: int | None = None

    def acknowledged(self, size: int, una: int) -> bool:
        """New data was acknowledged up to `una`; whether the segment there must be sent again (partial ACK)."""
        self.duplicates = 0
        if self.recover is not None:
            if una < self.recover:  # RFC 6582 section 3.2 step 3, partial acknowledgment
                self.window = max(self.window - size + self.mss, self.mss)
                return True
            self.window = self.threshold
            self.recover = None
        elif self.window < self.threshold:
            self.window += size
        else:
            self.window += max(1, self.mss * size // self.window)
        return False

    def duplicate(self, flight: int, nxt: int) -> bool:
        """A duplicate ACK arrived; whether the first unacknowledged segment must be sent again now."""
        self.duplicates += 1
        if self.recover is not None:
            self.window += self.mss
            return False
        if self.duplicates < DUPLICATE_THRESHOLD:
            return False
        self.threshold = max(flight // 2, 2 * self.mss)
        self.window = self.threshold + DUPLICATE_THRESHOLD * self.mss
        self.recover = nxt
        return True

    def timed_out(self, flight: int, nxt: int) -> None:
        """The retransmission timer fired: back to one segment (RFC 5681 equation 4).

        All that is in flight counts as lost, so every ACK short of `nxt` asks for the segment behind it.
        """
        self.threshold = max(flight // 2, 2 * self.mss)
        self.window = self.mss
        self.duplicates = 0
        self.recover = nxt
