"""The retransmission time-out (RFC 6298)."""

from __future__ import annotations

INITIAL_RTO = 1.0
"""RFC 6298 (2.1): until a round trip has been measured, RTO is 1 second."""

MINIMUM_RTO = 0.2
"""RFC 6298 (2.4) says 1 second SHOULD be the minimum; deployed stacks take 200 ms, and the hop to a local client is far
below."""

MAXIMUM_RTO = 60.0
"""RFC 6298 (2.5): a maximum may be placed, at least 60 seconds."""

CLOCK_GRANULARITY = 0.001
"""G of RFC 6298 (2.2): epoll waits in milliseconds."""


class RTT:
    """Smoothed round-trip time and its variation, in seconds."""

    __slots__ = ("backoff", "rto", "smoothed", "variation")

    def __init__(self) -> None:
        self.smoothed: float | None = None
        self.variation = 0.0
        self.rto = INITIAL_RTO
        self.backoff = 0

    def sample(self, rtt: float) -> None:
        """Take a measurement of data that was sent once only (Karn's rule, RFC 6298 section 3)."""
        if self.smoothed is None:  # (2.2)
            self.smoothed = rtt
            self.variation = rtt / 2
        else:  # (2.3)
            self.variation += (abs(self.smoothed - rtt) - self.variation) / 4
            self.smoothed += (rtt - self.smoothed) / 8
        self.backoff = 0
        rto = self.smoothed + max(CLOCK_GRANULARITY, 4 * self.variation)
        self.rto = min(max(rto, MINIMUM_RTO), MAXIMUM_RTO)

    def timed_out(self) -> None:
        """Back off (5.5): double the time-out."""
        self.backoff += 1
        self.rto = min(self.rto * 2, MAXIMUM_RTO)
