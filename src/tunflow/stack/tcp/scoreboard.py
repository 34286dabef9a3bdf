"""What a sender knows of its losses (RFC 6675), from the first sign of one until all of it is repaired.

A connection without losses has no scoreboard. The names are those of RFC 6675: everything not SACKed below `lost_below`
is lost, everything below `resent_below` (HighRxt) was sent again, and `pipe` is what is still on its way.

1. Two numbers stand for all the per-byte marks. IsLost never holds for a byte above one for which it does not, and
   what is lost is sent again in order.
2. A peer without SACK is treated alike: each duplicate ACK says that one segment, nobody knows which, has left the
   path (as if it had SACKed the last one), and the first unacknowledged segment is the lost one (RFC 6582).
3. A time-out makes everything lost that is not SACKed; what follows is slow start over the holes only. SACKed data is
   believed until the time-out finds the very first segment SACKed: then the peer has reneged (RFC 2018 §8).
4. A segment is split only at multiples of the MSS from its start, where the device cuts it: blocks with other edges are
   taken for less than they say, and cannot make more records than there were packets.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunflow.stack.tcp.flight import SentSegment, split

DUPLICATE_THRESHOLD = 3
"""DupThresh, RFC 5681 section 3.2 and RFC 6675 section 2."""


class Scoreboard:
    """`point` is RecoveryPoint: the acknowledgment that ends the recovery; None while nothing is known to be lost."""

    __slots__ = (
        "_delivered", "_flight_size", "_resent", "_seen", "allowance", "duplicates", "highest_sacked", "lost_below",
        "pipe", "point", "rescued", "resent_below", "timed_out", "undo",
    )  # fmt: skip

    def __init__(self, una: int) -> None:
        self.lost_below = una
        self.resent_below = una
        self.highest_sacked = una
        self.duplicates = 0
        self.pipe = 0
        self.point: int | None = None
        self.timed_out = False
        """Whether the recovery follows a time-out: then the congestion window rules, else `allowance` does."""
        self.allowance = 0
        """sndcnt of RFC 6937: bytes that may be sent now in a fast recovery."""
        self.rescued = False
        self.undo: tuple[int, int, int] | None = None
        """Congestion window and threshold before the recovery, and the TSval of the first segment sent again."""
        self._seen = una
        self._delivered = self._resent = 0
        self._flight_size = 1

    def begin(self, una: int, nxt: int) -> None:
        """A fast recovery begins."""
        self.resent_below = una
        self.point = nxt
        self._delivered = self._resent = 0
        self._flight_size = max(nxt - una, 1)
        self.rescued = self.timed_out = False

    def allow(self, threshold: int, mss: int, delivered: int, forced: bool) -> None:
        """Proportional rate reduction (RFC 6937 section 3.1): how much of what was delivered may be replaced now.

        `forced`: one segment is to be sent again whatever comes out (RFC 6675 section 5 (4.3)).
        """
        self._delivered += delivered
        if self.pipe > threshold:
            count = -(-self._delivered * threshold // self._flight_size) - self._resent
        else:
            count = min(threshold - self.pipe, max(self._delivered - self._resent, delivered) + mss)
        self.allowance = max(count, mss if forced else 0)

    def sent(self, size: int) -> None:
        """So much has left, new or again."""
        self.pipe += size
        self.allowance -= size
        self._resent += size

    def mark(self, flight: list[SentSegment], blocks: Sequence[tuple[int, int]], mss: int) -> bool:
        """Take SACK blocks (unwrapped, within what is in flight); whether they say anything new."""
        news = False
        for left, right in blocks:
            index = 0
            while index < len(flight):
                segment = flight[index]
                if segment.start >= right:
                    break
                if not segment.sacked and segment.end > left:
                    if segment.start < left:
                        size = -(-(left - segment.start) // mss) * mss
                        if segment.start + size < segment.end - segment.fin:
                            split(flight, index, size)
                        index += 1
                        continue
                    if segment.end > right:
                        size = (right - segment.start) // mss * mss
                        if not size:
                            break
                        split(flight, index, size)
                    segment.sacked = news = True
                    if segment.end > self.highest_sacked:
                        self.highest_sacked = segment.end
                index += 1
        return news

    def find_losses(self, flight: list[SentSegment], mss: int, threshold: int) -> None:
        """IsLost: `threshold` SACKed runs, or as many segments' worth of SACKed bytes, lie above."""
        size = runs = 0
        below: int | None = None
        for segment in reversed(flight):
            if segment.end <= self.lost_below:
                return
            if not segment.sacked:
                continue
            size += segment.end - segment.start
            runs += segment.end != below
            below = segment.start
            if size > (threshold - 1) * mss or runs >= threshold:
                if segment.start > self.lost_below:
                    self.lost_below = segment.start
                return

    def first_is_lost(self, flight: list[SentSegment], mss: int) -> None:
        """The first segment without SACK is lost, whatever IsLost says."""
        for segment in flight:
            if not segment.sacked:
                self.lost_below = max(self.lost_below, min(segment.start + mss, segment.end))
                return

    def all_is_lost(self, flight: list[SentSegment], una: int, nxt: int) -> None:
        """Everything not SACKed is lost and not sent again yet, as after a time-out."""
        if flight and flight[0].sacked:
            for segment in flight:
                segment.sacked = False  # reneged
            self.highest_sacked = una
        self.lost_below = self.point = nxt
        self.resent_below = una
        self.duplicates = 0
        self.rescued = False

    def measure(self, flight: list[SentSegment], una: int, nxt: int, mss: int) -> int:
        """SetPipe of RFC 6675 section 4; how many bytes have arrived since it was last called (DeliveredData)."""
        lost = max(self.lost_below, una)
        resent = max(self.resent_below, una)
        pipe = nxt - lost + resent - una
        sacked = 0
        if self.highest_sacked > una:
            for segment in flight:
                if segment.sacked:
                    size = segment.end - segment.start
                    sacked += size
                    pipe -= (segment.start >= lost) * size + (segment.start < resent) * size
        gone = self.duplicates * mss
        self.pipe = max(pipe - gone, 0)
        before, self._seen = self._seen, una + sacked + gone
        return max(self._seen - before, 0)

    def hole(self, flight: list[SentSegment], below: int) -> int | None:
        """The first segment below `below` that is neither SACKed nor sent again (NextSeg, rules 1 and 3)."""
        for index, segment in enumerate(flight):
            if segment.start >= below:
                break
            if not segment.sacked and segment.end > self.resent_below:
                return index
        return None

    def last_unsacked(self, flight: list[SentSegment]) -> int | None:
        """What NextSeg's rule 4 sends again, once in a recovery, when nothing else can be sent."""
        for index in range(len(flight) - 1, -1, -1):
            if not flight[index].sacked:
                return index
        return None
