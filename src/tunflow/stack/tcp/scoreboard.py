"""What became of the segments in flight while something is missing: RACK (RFC 8985) over SACK (RFC 2018).

A connection without losses has no scoreboard. Read RFC 8985 §5 and §6 first; the names are its names. Rules:

1. Time tells what is lost: a segment is, once one that was sent after it has arrived and a quarter of a round trip more
   has passed for reordering. That holds for what was sent again as for the rest.
2. `lost` of a segment means that it is to be sent again, and is taken back when it is.
3. A peer without SACK is treated alike: each duplicate ACK says that one segment, nobody knows which, has left the
   path, and the first unacknowledged segment is the lost one (RFC 6582).
4. A time-out makes everything lost that is not SACKed; what follows is slow start over the holes only. SACKed data is
   believed until the time-out finds the very first segment SACKed: then the peer has reneged (RFC 2018 §8).
5. A segment is split only at multiples of the MSS from its start, where the device cuts it: blocks with other edges are
   taken for less than they say, and cannot make more records than there were packets.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from tunflow.stack.tcp.flight import SentSegment, split
from tunflow.stack.tcp.rtt import RTT

DUPLICATE_THRESHOLD = 3
"""DupThresh, RFC 5681 section 3.2 and RFC 8985 §6.2 step 4."""


class Scoreboard:
    """`point` is RecoveryPoint: the acknowledgment that ends the recovery; None while nothing is known to be lost."""

    __slots__ = (
        "_delivered", "_flight_size", "_latest", "_resent", "_seen", "_trip", "allowance", "duplicates",
        "highest_sacked", "look_again", "pipe", "point", "reordered", "timed_out", "undo",
    )  # fmt: skip

    def __init__(self, una: int, reordered: bool) -> None:
        self.highest_sacked = una
        """RACK.fack: above it nothing has arrived."""
        self.reordered = reordered
        """True if the path has been seen to deliver out of order (RACK.reordering_seen)."""
        self.look_again = inf
        """When a segment that may only be late will be taken for lost: the reordering timer (RFC 8985 §6.3)."""
        self.duplicates = 0
        self.pipe = 0
        self.point: int | None = None
        self.timed_out = False
        """True if the recovery follows a time-out: then the congestion window rules, else `allowance` does."""
        self.allowance = 0
        """sndcnt of RFC 6937: bytes that may be sent now in a fast recovery."""
        self.undo: tuple[int, int, int] | None = None
        """Congestion window and threshold before the recovery, and the TSval of the first segment sent again."""
        self._latest = (-inf, 0)
        """RACK.xmit_ts and RACK.end_seq: the segment sent last of those that arrived."""
        self._trip = 0.0
        """RACK.rtt: how long that one took."""
        self._seen = una
        self._delivered = self._resent = 0
        self._flight_size = 1

    def begin(self, una: int, nxt: int) -> None:
        """A fast recovery begins."""
        self.point = nxt
        self._delivered = self._resent = 0
        self._flight_size = max(nxt - una, 1)
        self.timed_out = False

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

    def mark(
        self, flight: list[SentSegment], blocks: Sequence[tuple[int, int]], mss: int, now: float, rtt: RTT
    ) -> bool:
        """Take SACK blocks (unwrapped, within what is in flight). Return True if they say anything new."""
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
                        if size < segment.size:
                            split(flight, index, size)
                        index += 1
                        continue
                    if segment.end > right:
                        size = (right - segment.start) // mss * mss
                        if not size:
                            break
                        split(flight, index, size)
                    segment.sacked = news = True
                    segment.lost = False
                    self.arrived(segment, now, rtt)
                index += 1
        return news

    def arrived(self, segment: SentSegment, now: float, rtt: RTT) -> None:
        """RFC 8985 §6.2 steps 2 and 3: note which segment was sent last of those that arrived, and reordering."""
        end = segment.end
        if end > self.highest_sacked:
            self.highest_sacked = end
        elif end < self.highest_sacked and not segment.retransmitted:
            self.reordered = True
        trip = now - segment.sent_at
        if segment.retransmitted and trip < rtt.minimum:
            return  # it was the first sending that arrived
        if (segment.sent_at, end) > self._latest:
            self._latest = segment.sent_at, end
            self._trip = trip

    def find_losses(self, flight: list[SentSegment], mss: int, now: float, rtt: RTT, patience: int) -> bool:
        """RACK_detect_loss (§6.2 step 5): mark what is lost. Return True if anything was that nobody knew of."""
        latest = self._latest
        window = self._reordering_window(flight, mss, rtt, patience)
        found = False
        self.look_again = inf
        for segment in flight:
            if segment.sacked or segment.lost or (segment.sent_at, segment.end) >= latest:
                continue
            due = segment.sent_at + self._trip + window
            if due <= now:
                segment.lost = found = True
            elif due < self.look_again:
                self.look_again = due
        return found

    def _reordering_window(self, flight: list[SentSegment], mss: int, rtt: RTT, patience: int) -> float:
        """RACK_update_reo_wnd (§6.2 step 4): a quarter of the least round trip, more on a path that reorders a lot."""
        if not self.reordered:
            if self.point is not None:
                return 0.0
            sacked = runs = 0
            below: int | None = None
            for segment in flight:
                if segment.sacked:
                    sacked += segment.end - segment.start
                    runs += segment.start != below
                    below = segment.end
            # A super-segment is many: bytes count as well as runs.
            if runs >= DUPLICATE_THRESHOLD or sacked > (DUPLICATE_THRESHOLD - 1) * mss:
                return 0.0
        least, usual = (rtt.minimum, rtt.smoothed) if rtt.minimum != inf else (self._trip, self._trip)
        return min(patience * least / 4, usual)

    def first_is_lost(self, flight: list[SentSegment], mss: int) -> None:
        """The first segment, of a super-segment the first packet, is lost."""
        if flight and not flight[0].sacked:
            if flight[0].size > mss:
                split(flight, 0, mss)
            flight[0].lost = True

    def all_is_lost(self, flight: list[SentSegment], una: int, nxt: int) -> None:
        """Everything not SACKed is lost and not sent again yet, as after a time-out."""
        if flight and flight[0].sacked:
            for segment in flight:
                segment.sacked = False  # reneged
            self.highest_sacked = una
        for segment in flight:
            segment.lost = not segment.sacked
        self.point = nxt
        self.look_again = inf
        self.duplicates = 0

    def none_is_lost(self, flight: list[SentSegment]) -> None:
        """The recovery was not needed."""
        for segment in flight:
            segment.lost = False
        self.point = self.undo = None
        self.timed_out = False
        self.duplicates = 0

    def measure(self, flight: list[SentSegment], una: int, mss: int) -> int:
        """SetPipe of RFC 6675 section 4; how many bytes have arrived since it was last called (DeliveredData)."""
        pipe = sacked = 0
        for segment in flight:
            if segment.sacked:
                sacked += segment.end - segment.start
            elif not segment.lost:
                pipe += segment.end - segment.start
        gone = self.duplicates * mss
        self.pipe = max(pipe - gone, 0)
        before, self._seen = self._seen, una + sacked + gone
        return max(self._seen - before, 0)

    def hole(self, flight: list[SentSegment]) -> int | None:
        """The first segment that is lost."""
        for index, segment in enumerate(flight):
            if segment.lost:
                return index
        return None
