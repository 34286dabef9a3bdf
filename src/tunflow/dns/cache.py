"""Answers kept for as long as they may be, and a while longer for when nobody answers.

Rules:
1. One entry for a question (name without regard to case, type, class) and for what makes answers differ: DO and CD
   (RFC 4035 §3.2).
2. An entry lives for `answers.lifetime`, at most `LONGEST` (RFC 8767 §4 allows a cap). Answers that say "no" live at
   most `LONGEST_NEGATIVE` (RFC 2308 §5: 1 to 3 hours).
3. Past its life it may be served for `stale` seconds when fresh data cannot be had (RFC 8767 §5), with a life of
   `STALE_TTL`.
4. One that is asked for in the last tenth of its life is fetched again in the background, once.
5. What was used longest ago makes room: entries and bytes are both bounded.
6. A failure (SERVFAIL, no answer) is remembered for `FAILURE_LIFE`, so that a client that repeats itself costs nothing
   (RFC 2308 §7, RFC 9520 §3.2).
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum

from tunflow.dns.answers import NO_SUCH_NAME, Answer, lifetime
from tunflow.dns.messages import Query
from tunflow.dns.replies import body_of, for_client, owners_of

LONGEST = 86_400
LONGEST_NEGATIVE = 3_600
"""Seconds."""
STALE_TTL = 30
"""Seconds. RFC 8767 §4."""
FAILURE_LIFE = 2.0
"""Seconds. RFC 9520 §3.2: at least 1, at most 300."""
PREFETCH_SHARE = 10
MOST_FAILURES = 512

ENTRY_COST = 520
"""Bytes that an entry holds beside its message: key, places, the objects around them; measured on CPython 3.11."""

Key = tuple[bytes, bytes, int]


def key_of(query: Query) -> Key:
    """What an answer to `query` is kept under."""
    question = query.question
    return question[:-4].lower(), question[-4:], query.dnssec_ok << 1 | query.checking_disabled


class Freshness(Enum):
    """What an entry is good for."""

    FRESH = "fresh"
    DUE = "due"
    """Fresh, and to be fetched again."""
    STALE = "stale"
    """To be served only when nothing better comes."""


class CachedAnswer:
    """One answer."""

    __slots__ = ("addresses", "authentic", "body", "cost", "expires", "names", "prefetching", "stored", "ttls")

    def __init__(self, answer: Answer, life: int, now: float) -> None:
        self.body = body_of(answer)
        self.addresses: tuple[bytes, ...] = ()
        """Those that the name has by it, packed."""
        size = len(self.body)
        self.ttls = tuple((record.ttl_at, record.ttl) for record in answer.records if record.ttl_at < size)
        self.names = owners_of(answer)
        self.authentic = bool(answer.message[3] & 0x20)
        self.stored = now
        self.expires = now + life
        self.prefetching = False
        self.cost = size + ENTRY_COST + 72 * len(self.ttls)

    def reply(self, query: Query, now: float) -> bytes:
        """The answer as it is for `query` at `now`."""
        is_fresh = now < self.expires or now == self.stored  # a life of 0 is for those who wait now
        age = int(now - self.stored) if is_fresh else -STALE_TTL
        return for_client(self.body, self.ttls, age, query, self.authentic, self.names)


class Cache:
    """See the module's rules. `entries` and `size` (bytes) are its bounds, `stale` is in seconds."""

    def __init__(self, entries: int = 10_000, size: int = 8 << 20, stale: float = 86_400.0) -> None:
        self.hits = 0
        self.misses = 0
        self._most = entries
        self._most_bytes = size
        self._stale = stale
        self._entries: OrderedDict[Key, CachedAnswer] = OrderedDict()  # longest unused first
        self._failures: OrderedDict[Key, float] = OrderedDict()
        self.bytes_held = 0

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: Key, now: float) -> tuple[CachedAnswer, Freshness] | None:
        """The entry for a key, and what it is good for."""
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return None
        left = entry.expires - now
        if left > 0:
            self._entries.move_to_end(key)
            self.hits += 1
            if not entry.prefetching and left * PREFETCH_SHARE < entry.expires - entry.stored:
                entry.prefetching = True
                return entry, Freshness.DUE
            return entry, Freshness.FRESH
        self.misses += 1
        if left + self._stale > 0:
            return entry, Freshness.STALE
        self._drop(key)
        return None

    def store(self, key: Key, answer: Answer, now: float) -> CachedAnswer:
        """Keep an answer if it may be kept; the entry, kept or not."""
        life = lifetime(answer)
        negative = answer.code == NO_SUCH_NAME or answer.is_empty
        entry = CachedAnswer(answer, 0 if life is None else min(life, LONGEST_NEGATIVE if negative else LONGEST), now)
        if life:
            self._failures.pop(key, None)
            self._drop(key)
            self._entries[key] = entry
            self.bytes_held += entry.cost
            while len(self._entries) > self._most or self.bytes_held > self._most_bytes:
                self._drop(next(iter(self._entries)))
        return entry

    def fail(self, key: Key, now: float) -> None:
        """Remember that nobody could answer."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.prefetching = False
        self._failures[key] = now + FAILURE_LIFE
        self._failures.move_to_end(key)
        if len(self._failures) > MOST_FAILURES:
            self._failures.popitem(last=False)

    def failed_lately(self, key: Key, now: float) -> bool:
        """Return True if asking again so soon would be in vain."""
        until = self._failures.get(key)
        return until is not None and now < until

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._failures.clear()
        self.bytes_held = 0

    def _drop(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes_held -= entry.cost
