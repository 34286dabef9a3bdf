"""The sending half of a connection: what waits, what is in flight, and what the windows allow to be sent.

Sequence numbers are unwrapped (see `receiver`). A segment is up to 64 KB: the device cuts it, or nobody has to. As long
as nothing is lost there is no `losses`, and the lossless path does not look further.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from tunflow.endpoint import Buffer
from tunflow.stack.budget import MemoryBudget
from tunflow.stack.tcp.congestion import Cubic
from tunflow.stack.tcp.flight import SentSegment, split, trim
from tunflow.stack.tcp.rtt import CLOCK_GRANULARITY, RTT
from tunflow.stack.tcp.scoreboard import DUPLICATE_THRESHOLD, Scoreboard
from tunflow.wire.tcp import ACK, FIN, PSH

MAXIMUM_PIECES = 512
"""Well under IOV_MAX (1,024 on Linux), with room for the headers."""

SMALL = 1024
"""Pieces smaller than this are joined with a small neighbour that waits, so that many do not cost much memory."""

MANY_RECORDS = 512
"""Segments in flight from which on a small one waits for company: a far side that sends single bytes to a client that
does not acknowledge must not cost a record for each."""

MOST_PATIENCE = 32
"""Where the patience with a path that reorders ends: thirty-two quarters of a round trip, or 96 duplicate ACKs."""


class Sender:
    """Bytes for the client."""

    __slots__ = (
        "_budget", "congestion", "fills", "fin_queued", "fin_sent", "flight", "is_waited_for", "largest_segment",
        "largest_window", "limit", "losses", "mss", "next", "patience", "probes_tail", "recover", "reordered",
        "retransmissions", "rtt", "sacks", "scale", "sent_at", "start", "step", "una", "unsent", "unsent_size",
        "window", "window_ack", "window_seq",
    )  # fmt: skip

    def __init__(self, start: int, mss: int, limit: int, largest_segment: int, budget: MemoryBudget) -> None:
        self._budget = budget
        self.start = start
        """The sequence number of the first byte."""
        self.una = start
        """SND.UNA: the oldest sequence number not acknowledged."""
        self.next = start
        """SND.NXT."""
        self.limit = limit
        self.is_waited_for = False
        """True if the owner found little room, and is to be told when an ACK makes more. How much there is when the ACK
        comes tells nothing: with a memory limit, others may have made room meanwhile."""
        self.window = 0
        self.largest_window = 0
        """MAX.SND.WND of RFC 5961 §5.2, Max(SND.WND) of RFC 9293 §3.8.6.2.1."""
        self.window_seq = 0
        self.window_ack = 0
        self.flight: list[SentSegment] = []
        self.losses: Scoreboard | None = None
        self.sacks = False
        """True if the peer sends SACK blocks."""
        self.probes_tail = False
        """True if RFC 8985 §7 is in use: with SACK, and where something can get lost."""
        self.scale = 0
        """The shift of the windows that the peer offers (RFC 7323 §2)."""
        self.recover = start
        """RFC 6582 section 3.2: duplicate ACKs of this or less are echoes of the last recovery."""
        self.step = 0
        """By how much the last ACK of a recovery went forward."""
        self.patience = 1
        """RACK.reo_wnd_mult of RFC 8985: grows with each loss that was none."""
        self.reordered = False
        """True if the path has been seen to deliver out of order."""
        self.sent_at = inf
        """When new data last left."""
        self.unsent_size = 0
        self.fills = False
        """True if more will be queued soon. While anything is in flight, part of a super-segment then waits for the
        rest, as with Nagle's algorithm part of a segment does."""
        self.fin_queued = False
        self.fin_sent = False
        self.retransmissions = 0
        self.rtt = RTT()
        self.congestion = Cubic(mss)
        self.unsent: list[Buffer] = []
        """Pieces that wait, `unsent_size` bytes."""
        self.mss = mss
        self.largest_segment = max(mss, largest_segment // mss * mss)

    def set_mss(self, mss: int, largest_segment: int) -> None:
        """Send no more than `mss` bytes in a packet, nor `largest_segment` in a super-segment, from now on."""
        if not self.flight:
            self.congestion = Cubic(mss)  # nothing has been learnt yet
        self.mss = self.congestion.mss = mss
        self.largest_segment = max(mss, largest_segment // mss * mss)

    @property
    def room(self) -> int:
        """How many more bytes the owner may queue: everything not acknowledged counts."""
        budget = self._budget
        limit = self.limit if budget.used <= budget.ample else budget.share(self.limit)
        return limit - self.unsent_size - (self.next - self.una)

    def ask_for_room(self) -> int:
        """Return `room` to the owner, who may wait for more."""
        room = self.room
        if room <= self.limit >> 1:
            self.is_waited_for = True
        return room

    @property
    def held(self) -> int:
        """Bytes that wait or are not acknowledged."""
        return self.unsent_size + self.next - self.una - (self.fin_sent and self.una < self.next)

    def queue(self, pieces: Sequence[Buffer]) -> None:
        """Take bytes to send after those already queued; the pieces must not change afterwards."""
        for piece in pieces:
            size = len(piece)
            if size < SMALL and self.unsent and len(self.unsent[-1]) < SMALL:
                self.unsent[-1] = b"".join((self.unsent[-1], piece))
            elif size:
                self.unsent.append(piece)
            self.unsent_size += size
            self._budget.used += size

    def next_segment(self, now: float, override: bool) -> SentSegment | None:
        """The next segment that the windows allow, counted as in flight; None when there is none.

        `override`: the time that silly-window avoidance may wait is over (RFC 9293 §3.8.6.2.1 (4)).
        """
        if self.losses is not None:
            return self._next_with_losses(self.losses, now)
        waiting = self.unsent_size
        if not waiting:
            if self.fin_queued and not self.fin_sent:
                return self._launch([], 0, now)
            return None
        if self.fills and waiting < self.largest_segment and self.flight:
            return None
        window = self.congestion.window
        if self.window < window:
            window = self.window
        return self._next_new(self.una + window - self.next, now, override)

    def acknowledge(self, ack: int, now: float, trip: float | None) -> None:
        """Take a cumulative ACK that is known to lie in (una, next].

        `trip` is the round trip in seconds that a timestamp gives, for when Karn's rule forbids to measure.
        """
        in_flight = self.next - self.una
        size = ack - self.una
        self.una = ack
        self._budget.used -= size - (self.fin_sent and ack == self.next)
        flight = self.flight
        newest: SentSegment | None = None
        is_ambiguous = False
        done = known = 0
        for segment in flight:
            if segment.end > ack:
                if segment.start < ack:
                    known += segment.lost * (ack - segment.start)
                    trim(segment, ack)
                break
            newest = segment
            done += 1
            if segment.retransmitted or segment.sacked or segment.lost:
                is_ambiguous = True
                if segment.sacked or segment.lost:
                    known += segment.end - segment.start
        if newest is not None:
            if not is_ambiguous:
                self.rtt.sample(now - newest.sent_at)
            elif trip is not None and trip < now - flight[0].sent_at + CLOCK_GRANULARITY:
                # An older echo answers an earlier sending of the first segment: the ACK of that was lost, and the time
                # since is no round trip.
                self.rtt.sample(trip)
        losses = self.losses
        if losses is not None and self.sacks:
            for segment in flight[:done]:
                if not segment.sacked:
                    losses.arrived(segment, now, self.rtt)
        del flight[:done]
        if losses is None:
            self.congestion.acknowledged(size, in_flight, now, self.rtt.smoothed)
        else:
            self._acknowledge_with_losses(losses, size, size - known, in_flight, now)

    def all_arrived(self) -> None:
        """Everything was acknowledged, FIN too: there is nothing to be sent that measuring the path could help."""
        self._budget.used -= self.held
        self.una = self.next
        self.flight.clear()

    # Losses.

    def sign_of_loss(self, blocks: Sequence[tuple[int, int]], stamp: int | None, now: float) -> bool:
        """Take in SACK blocks, or a duplicate ACK of a peer without SACK. Return True if a recovery begins.

        RFC 5681 section 2 and RFC 6675 section 2: with SACK, an ACK is a duplicate if its blocks say something new.
        `stamp` is our TSval now.
        """
        losses = self.losses
        if losses is None:
            losses = self.losses = Scoreboard(self.una, self.reordered)
        if not self.sacks:
            threshold = DUPLICATE_THRESHOLD * self.patience
            most = max(threshold, (self.next - self.una) // self.mss)
            losses.duplicates = min(losses.duplicates + 1, most)
            # RFC 6582 section 4.1: after a long step forward they are echoes of what was sent again needlessly.
            is_new = self.una > self.recover or self.step <= 4 * self.mss
            is_lost = losses.duplicates >= threshold and is_new and losses.point is None
            if is_lost:
                losses.first_is_lost(self.flight, self.mss)
        else:
            losses.mark(self.flight, blocks, self.mss, now, self.rtt)
            is_lost = losses.find_losses(self.flight, self.mss, now, self.rtt, self.patience)
        return self._found(losses, is_lost, stamp)

    def look_again(self, stamp: int | None, now: float) -> bool:
        """The reordering timer fired (RFC 8985 §6.3). Return True if a recovery begins. `stamp` is our TSval now."""
        losses = self.losses
        if losses is None:
            return False
        is_lost = losses.find_losses(self.flight, self.mss, now, self.rtt, self.patience)
        return self._found(losses, is_lost, stamp)

    def _found(self, losses: Scoreboard, is_lost: bool, stamp: int | None) -> bool:
        begins = is_lost and losses.point is None
        if begins:
            losses.begin(self.una, self.next)
            self.recover = self.next
            self._remember(losses, stamp)
            self.congestion.lost(self.next - self.una)
        self._measure(losses, begins)
        self._settle(losses)
        return begins

    def timed_out(self, again: bool, stamp: int | None) -> None:
        """The retransmission timer fired, perhaps `again` for the same data; `stamp` is our TSval now."""
        losses = self.losses
        if losses is None:
            losses = self.losses = Scoreboard(self.una, self.reordered)
        if losses.point is None:
            self._remember(losses, stamp)
        elif not again:
            losses.undo = None  # a time-out in a recovery: too late to undo either
        self.congestion.timed_out(self.next - self.una, again or losses.timed_out)
        losses.all_is_lost(self.flight, self.una, self.next)
        losses.timed_out = True
        self.recover = self.next
        self._measure(losses, False)

    def _remember(self, losses: Scoreboard, stamp: int | None) -> None:
        congestion = self.congestion
        if stamp is None or self.flight[0].retransmitted:
            losses.undo = None  # an echo would not tell which sending it answers
        else:
            losses.undo = (congestion.window, congestion.threshold, stamp)

    def _measure(self, losses: Scoreboard, forced: bool) -> None:
        delivered = losses.measure(self.flight, self.una, self.mss)
        if losses.point is not None and not losses.timed_out:
            losses.allow(self.congestion.threshold, self.mss, delivered, forced)

    def too_big(self) -> None:
        """What is in flight does not fit the path: send it again, cut smaller; no congestion is to be seen in that."""
        losses = self.losses
        if losses is None:
            losses = self.losses = Scoreboard(self.una, self.reordered)
        losses.all_is_lost(self.flight, self.una, self.next)
        losses.timed_out = True  # in that the window rules
        self._measure(losses, False)

    def was_spurious(self) -> None:
        """The recovery was not needed (RFC 3522): nothing is lost, nothing was to be learnt but patience."""
        losses = self.losses
        if losses is not None and losses.undo is not None:
            self.congestion.restore(*losses.undo[:2])
            if not losses.timed_out:
                self.patience = min(2 * self.patience, MOST_PATIENCE)
                self.reordered = losses.reordered = True
            losses.none_is_lost(self.flight)
            self._measure(losses, False)

    def _acknowledge_with_losses(self, losses: Scoreboard, size: int, news: int, in_flight: int, now: float) -> None:
        """`size` bytes were acknowledged, `news` of them neither SACKed before nor given up for lost."""
        una = self.una
        self.step = size
        losses.duplicates = max(0, losses.duplicates - max(0, size // self.mss - 1))
        is_partial = False
        if losses.point is None:
            losses.duplicates = 0
            self.congestion.acknowledged(size, in_flight, now, self.rtt.smoothed)
        elif una >= losses.point:
            losses.none_is_lost(self.flight)
        else:
            if not self.sacks and not losses.timed_out:
                losses.first_is_lost(self.flight, self.mss)  # RFC 6582 section 3.2 step 3: a partial acknowledgment
                is_partial = True
            if losses.timed_out:
                # What arrived before the time-out must not open the window: it is no sign of room (RFC 3465 section
                # 2.3).
                self.congestion.acknowledged(news, in_flight, now, self.rtt.smoothed)
        if self.sacks and losses.point is not None:
            losses.find_losses(self.flight, self.mss, now, self.rtt, self.patience)
        self._measure(losses, is_partial)
        self._settle(losses)

    def _settle(self, losses: Scoreboard) -> None:
        """Forget the scoreboard when it says nothing any more."""
        if losses.point is None and not losses.duplicates and losses.highest_sacked <= self.una:
            self.reordered = losses.reordered
            self.losses = None

    def _next_with_losses(self, losses: Scoreboard, now: float) -> SentSegment | None:
        """What is lost first, then new data, within the congestion window."""
        is_fast = losses.point is not None and not losses.timed_out
        room = losses.allowance if is_fast else self.congestion.window - losses.pipe
        if room < self.mss and losses.pipe:
            return None
        index = losses.hole(self.flight)
        if index is not None and losses.point is not None:
            return self._resend(losses, index, room, now)
        before = self.next
        segment = None
        if self.unsent_size:
            segment = self._next_new(min(room, self.una + self.window - before), now, False)
        elif self.fin_queued and not self.fin_sent:
            segment = self._launch([], 0, now)
        losses.sent(self.next - before)
        return segment

    def _resend(self, losses: Scoreboard, index: int, room: int, now: float) -> SentSegment:
        """Send again what lies at `index` in flight: of a super-segment, as much as there is room for."""
        segment = self.flight[index]
        size = max(room // self.mss, 1) * self.mss
        if segment.size > size:
            split(self.flight, index, size)
        segment.lost = False
        self._mark_resent(segment, now)
        losses.sent(segment.end - segment.start)
        return segment

    def _mark_resent(self, segment: SentSegment, now: float) -> None:
        segment.retransmitted = True
        if segment.size:
            segment.flags |= PSH
        segment.sent_at = now
        self.retransmissions += 1

    def tail_probe(self, now: float) -> SentSegment:
        """RFC 8985 §7.3: new data if the peer has room for it, or else the last segment again; one packet."""
        if self.unsent_size:
            segment = self._next_new(min(self.mss, self.una + self.window - self.next), now, False)
            if segment is not None:
                return segment
        last = self.flight[-1]
        whole = (last.size - 1) // self.mss * self.mss
        if whole > 0:
            split(self.flight, len(self.flight) - 1, whole)
            last = self.flight[-1]
        self._mark_resent(last, now)
        return last

    def drop(self) -> None:
        """Forget everything: the connection is gone."""
        self._budget.used -= self.held
        self.una = self.next
        self.unsent.clear()
        self.flight.clear()
        self.losses = None
        self.unsent_size = 0

    # New segments.

    def _next_new(self, usable: int, now: float, override: bool) -> SentSegment | None:
        """Cut a segment from what waits."""
        waiting = self.unsent_size
        size = waiting if waiting < usable else usable
        if size > self.largest_segment:
            size = self.largest_segment
        if size <= 0:
            return None
        if size < self.mss:
            # Silly-window avoidance (RFC 9293 §3.8.6.2.1): a small segment leaves when it is all that waits (there is
            # no Nagle delay here), or half of what the window ever was, or when waiting takes too long.
            if size < waiting and not override and (self.flight or 2 * size < self.largest_window):
                return None
            if len(self.flight) >= MANY_RECORDS:
                return None
        elif size < waiting:
            size -= size % self.mss
        pieces, size = self._cut(size)
        return self._launch(pieces, size, now)

    def _launch(self, pieces: list[Buffer], size: int, now: float) -> SentSegment:
        end = self.next + size
        flags = ACK
        if not self.unsent_size:
            if size:
                flags = ACK | PSH
            if self.fin_queued:
                flags |= FIN
                end += 1
                self.fin_sent = True
        segment = SentSegment(self.next, end, size, pieces, flags, now)
        self.next = end
        self.sent_at = now
        self.flight.append(segment)
        return segment

    def _cut(self, size: int) -> tuple[list[Buffer], int]:
        """Take up to `size` bytes from what waits, in no more pieces than one `writev` takes; how many they are."""
        unsent = self.unsent
        left = size
        count = 0
        for piece in unsent:
            length = len(piece)
            if length > left or count == MAXIMUM_PIECES:
                break
            left -= length
            count += 1
        pieces = unsent[:count]
        if left and count < MAXIMUM_PIECES:
            view = memoryview(unsent[count])
            pieces.append(view[:left])
            unsent[count] = view[left:]
            left = 0
        del unsent[:count]
        self.unsent_size -= size - left
        return pieces, size - left
