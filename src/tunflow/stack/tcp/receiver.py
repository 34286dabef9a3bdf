"""The receiving half of a connection: what arrived in order, what arrived early, and the window offered.

Sequence numbers here are unwrapped: they count on beyond 2^32, so that comparing two is plain arithmetic. Payload is
never copied; a piece is a view of the packet it came in. What arrived early is told to the peer in SACK blocks
(RFC 2018), what arrived twice in a D-SACK block (RFC 2883).
"""

from __future__ import annotations

from bisect import bisect_right
from math import inf

from tunflow.endpoint import Buffer
from tunflow.stack.budget import MemoryBudget
from tunflow.stack.tcp.sequence import Block

SMALL = 1024
"""Pieces smaller than this are joined with a small neighbour: a client that sends single bytes to an owner who does
not take them must not cost a packet's memory for each."""

EARLY_LIMIT = 1024
"""Early pieces held at most, however small: what is beyond comes again when it is asked for."""

SACK_BLOCKS = 4
"""RFC 2018 §3: as many fit the options; three beside timestamps."""

CHALLENGES = 10
CHALLENGE_PERIOD = 5.0
"""RFC 5961 §7: at most so many challenge ACKs in so many seconds. Counted for each connection, not for all together: a
shared count tells a stranger what others do (CVE-2016-5696)."""


class Receiver:
    """Bytes from the client, up to `limit` of them held for an owner who has not taken them yet."""

    __slots__ = (
        "_arrivals", "_budget", "ack_at", "ack_due", "advertised", "challenge_until", "challenges", "delays_acks",
        "duplicate", "early", "fin_received", "limit", "next", "pieces", "queued", "whole",
    )  # fmt: skip

    def __init__(self, start: int, limit: int, budget: MemoryBudget) -> None:
        self._budget = budget
        self.next = start
        """RCV.NXT, unwrapped: the sequence number expected next."""
        self.limit = limit
        self.whole = limit
        """The size of the client's super-segments, if it makes any. A window has room for whole ones only, while it has
        for one: a part would cost as much to take in."""
        self.pieces: list[memoryview] = []
        """In-order bytes for the owner."""
        self.queued = 0
        self.advertised = start
        """The right edge of the window last offered; it never moves left (RFC 9293 §3.8.6)."""
        self.early: list[tuple[int, int, memoryview]] | None = None
        """Start, end and bytes of what waits for earlier ones, in order and without overlap; None when nothing does."""
        self.duplicate: Block | None = None
        """What the last segment repeated, until an ACK has said so."""
        self._arrivals: list[int] = []
        self.fin_received = False
        """True if the client closed its side."""
        self.ack_due = False
        """True if what arrived is to be acknowledged when the batch is done."""
        self.ack_at = inf
        """When it is to be acknowledged at the latest."""
        self.delays_acks = True
        """True if an answer is likely to carry an ACK soon: the last ones that were waited for did."""
        self.challenges = 0
        self.challenge_until = 0.0

    @property
    def window(self) -> int:
        """How many bytes beyond `next` may arrive: what the owner left free, and never less than was promised."""
        budget = self._budget
        limit = self.limit if self.limit <= budget.widest else budget.widest
        if budget.used > budget.ample:
            limit = budget.share(limit)
        free = limit - self.queued
        if free > self.whole:
            free -= free % self.whole
        promised = self.advertised - self.next
        if promised > free:
            free = promised
        return free if free > 0 else 0

    def accept(self, start: int, payload: memoryview) -> bool:
        """Take a segment's payload that begins at `start`, as far as the window goes. Return True if `next` moved."""
        skip = self.next - start
        if skip > 0:
            self.duplicate = (start, min(start + len(payload), self.next))
            payload = payload[skip:]
            start = self.next
        if start + len(payload) > self.advertised:  # else it was promised room
            excess = start + len(payload) - self.next - self.window
            if excess > 0:
                payload = payload[: max(0, len(payload) - excess)]
        budget = self._budget
        if budget.used > budget.ample:
            size = budget.acceptable(len(payload), self.queued)
            if size < len(payload):
                # A copy, so that the rest of the packet does not stay in memory with it.
                payload = memoryview(bytes(payload[:size]))
        if not payload:
            return False
        if start > self.next:
            self._keep_early(start, payload)
            return False
        self._append(payload)
        if self.early is not None:
            self._join_early(self.early)
        return True

    def is_acceptable(self, start: int, length: int) -> bool:
        """Return True if a segment touches the window: the four cases of RFC 9293 §3.10.7.4, table 6."""
        ahead = start - self.next
        if length == 0:
            return ahead == 0 or 0 < ahead < self.window
        return ahead + length > 0 and ahead < self.window

    def may_challenge(self, now: float) -> bool:
        """Return True if a challenge ACK may be sent (RFC 5961 §7), which is counted then."""
        if now >= self.challenge_until:
            self.challenge_until = now + CHALLENGE_PERIOD
            self.challenges = 0
        if self.challenges >= CHALLENGES or self.ack_due:
            return False
        self.challenges += 1
        return True

    def take(self, limit: int) -> list[Buffer]:
        """Up to `limit` in-order bytes for the owner, whose they are from now on; the window opens accordingly."""
        pieces = self.pieces
        if self.queued <= limit:
            taken: list[Buffer] = list(pieces)
            pieces.clear()
            self._budget.used -= self.queued
            self.queued = 0
            return taken
        taken = []
        self.queued -= limit
        self._budget.used -= limit
        whole = 0
        for piece in pieces:
            if len(piece) > limit:
                break
            taken.append(piece)
            limit -= len(piece)
            whole += 1
        if limit:
            taken.append(pieces[whole][:limit])
            pieces[whole] = pieces[whole][limit:]
        del pieces[:whole]
        return taken

    def sack_blocks(self) -> tuple[Block, ...]:
        """What to tell the peer (RFC 2018 §4): what came twice first (RFC 2883 §4), then the latest arrival's block."""
        merged: list[Block] = []
        for start, end, _ in self.early or ():
            if merged and merged[-1][1] == start:
                merged[-1] = (merged[-1][0], end)
            else:
                merged.append((start, end))
        told: list[Block] = []
        latest: list[int] = []
        for arrival in self._arrivals:
            index = bisect_right(merged, arrival, key=lambda block: block[0]) - 1
            if index >= 0 and merged[index][1] > arrival and merged[index] not in told:
                told.append(merged[index])
                latest.append(arrival)
        self._arrivals = latest
        told += [block for block in merged[:SACK_BLOCKS] if block not in told]
        if self.duplicate is not None:
            told.insert(0, self.duplicate)
            self.duplicate = None
        return tuple(told[:SACK_BLOCKS])

    def drop(self) -> None:
        """Forget all that is held: nobody will take it any more."""
        self.drop_early()
        self.pieces.clear()
        self._budget.used -= self.queued
        self.queued = 0

    def drop_early(self) -> None:
        """Forget what came before its turn: what is missing before it will not come any more."""
        for start, end, _ in self.early or ():
            self._budget.used -= end - start
        self.early = None

    def _append(self, payload: memoryview) -> None:
        size = len(payload)
        pieces = self.pieces
        if size < SMALL and pieces and len(pieces[-1]) < SMALL:
            pieces[-1] = memoryview(b"".join((pieces[-1], payload)))
        else:
            pieces.append(payload)
        self.queued += size
        self.next += size
        self._budget.used += size

    def _join_early(self, early: list[tuple[int, int, memoryview]]) -> None:
        """Move what is early no more behind what is in order."""
        done = 0
        for begin, end, payload in early:
            if begin > self.next:
                break
            done += 1
            self._budget.used -= end - begin
            if end > self.next:
                self._append(payload[self.next - begin :])
        del early[:done]
        if not early:
            self.early = None
            self._arrivals.clear()

    def _keep_early(self, start: int, payload: memoryview) -> None:
        """Hold bytes that came before their turn; only those not held already, so memory stays within the window."""
        if self.early is None:
            self.early = []
        early = self.early
        end = start + len(payload)
        first = start
        index = bisect_right(early, start, key=lambda item: item[0])
        if index and early[index - 1][1] > start:
            start = early[index - 1][1]
        while index < len(early) and early[index][0] <= start < early[index][1]:
            start = early[index][1]
            index += 1
        if index < len(early):
            # The rest may be held already; what lies behind the hole comes again when it is asked for.
            end = min(end, early[index][0])
        self._arrivals.insert(0, first)
        del self._arrivals[2 * SACK_BLOCKS :]
        if start >= end:
            self.duplicate = (first, first + len(payload))
        elif len(early) < EARLY_LIMIT:
            # A copy: a small early piece must not pin the large packet it came in.
            held = memoryview(bytes(payload[start - first : end - first]))
            early.insert(index, (start, end, held))
            self._budget.used += end - start
