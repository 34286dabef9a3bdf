"""The retransmission time-out (RFC 6298)."""

from __future__ import annotations

from math import inf

INITIAL_RTO = 1.0
"""RFC 6298 (2.1): until a round trip has been measured, RTO is 1 second."""

MINIMUM_RTO = 0.2
"""RFC 6298 (2.4) says 1 second SHOULD be the minimum; deployed stacks take 200 ms, and the hop to a local client is far
below."""

MAXIMUM_RTO = 60.0
"""RFC 6298 (2.5): a maximum may be placed, at least 60 seconds."""

RTO_AFTER_SYN_LOSS = 3.0
"""RFC 6298 (5.7): when a SYN had to be sent again, data starts with this."""

CLOCK_GRANULARITY = 0.001
"""G of RFC 6298 (2.2): epoll waits in milliseconds."""


MINIMUM_PROBE_TIMEOUT = 0.01
"""RFC 8985 §7.2 leaves a minimum to the timer: epoll waits in milliseconds, and a busy client answers in several."""


class RTT:
    """Smoothed round-trip time and its variation, in seconds; zero until something has been measured."""

    __slots__ = ("_measured", "minimum", "probe_timeout", "rto", "settled", "smoothed", "variation")

    def __init__(self) -> None:
        self.smoothed = 0.0
        self.variation = 0.0
        self.minimum = inf
        """The least that has been measured (RACK.min_RTT of RFC 8985)."""
        self.rto = INITIAL_RTO
        self.probe_timeout = INITIAL_RTO
        """PTO of RFC 8985 §7.2, or the RTO if that is less."""
        self.settled: float | None = None
        """The time-out before it backed off; None when it has not."""
        self._measured = False

    def sample(self, rtt: float) -> None:
        """Take a measurement that is not ambiguous (Karn's rule, RFC 6298 section 3); it ends every back-off."""
        if self._measured:  # (2.3)
            self.variation += (abs(self.smoothed - rtt) - self.variation) / 4
            self.smoothed += (rtt - self.smoothed) / 8
        else:  # (2.2)
            self._measured = True
            self.smoothed = rtt
            self.variation = rtt / 2
        spread = 4 * self.variation
        if rtt < self.minimum:
            self.minimum = rtt
        rto = self.smoothed + (spread if spread > CLOCK_GRANULARITY else CLOCK_GRANULARITY)
        if rto < MINIMUM_RTO:
            rto = MINIMUM_RTO
        self.rto = rto if rto < MAXIMUM_RTO else MAXIMUM_RTO
        self.settled = None
        probe = 2 * self.smoothed
        if probe < MINIMUM_PROBE_TIMEOUT:
            probe = MINIMUM_PROBE_TIMEOUT
        self.probe_timeout = probe if probe < self.rto else self.rto

    def timed_out(self) -> None:
        """Back off (5.5): double the time-out."""
        if self.settled is None:
            self.settled = self.rto
        self.rto = min(self.rto * 2, MAXIMUM_RTO)

    def settle(self, rto: float) -> None:
        """Begin with this time-out, or go back to it, without a measurement."""
        self.rto = rto
        self.settled = None
