"""The resolver: a client's query in, an answer out, from what is known or from who is asked. A machine without I/O.

The path of a query, the first that applies:
1. names that are answered here: `hosts`, `localhost` (RFC 6761 §6.3), reverse names of fake addresses, resolvers'
   offers to be asked otherwise (RFC 9462) and, when encrypted DNS is to stay out, the names of public resolvers;
2. a fake address, for A and AAAA of names that may have one;
3. the cache;
4. a lookup for the same question that is under way already (one goes out, however many clients ask);
5. a lookup: the selector says which groups are asked and which reply is believed.

Rules: what goes out is a query of our own (RD, the client's DO and CD, EDNS with `EDNS_SIZE`), never the client's
bytes: options that bind two neighbours (cookies, client subnet) end here. A lookup that fails is told as SERVFAIL, and
one that nobody answers is forgotten without a word, because by then the client has asked again; but what the cache
still has, however old, is better than both (RFC 8767).

Read first: RFC 1034 §5, RFC 2308, RFC 5452, RFC 8767.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, Self

from tunflow.dns import replies
from tunflow.dns.answers import (
    AAAA,
    HTTPS,
    IN,
    NO_SUCH_NAME,
    PTR,
    SVCB,
    A,
    addresses_untrusted,
    hints_untrusted,
    is_about,
    parse_answer_untrusted,
)
from tunflow.dns.cache import Cache, Entry, Freshness, Key, key_of
from tunflow.dns.fake_ip import FakeIPMap
from tunflow.dns.messages import (
    FORMAT_ERROR,
    HEADER,
    NOT_IMPLEMENTED,
    REFUSED,
    SERVER_FAILURE,
    Query,
    bad_version,
    failure,
    parse_query_untrusted,
    truncated,
)
from tunflow.dns.names import reverse_address, text_of, wire_of
from tunflow.dns.public_resolvers import is_public_resolver
from tunflow.dns.seen import SeenNames
from tunflow.dns.selection import NameTest, Reply, Selection, Selector
from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket

LOOKUP_TIME = 5.0
"""Seconds until a lookup is given up: the first time-out of glibc (RES_TIMEOUT) and of musl."""
STALE_AFTER = 1.8
"""Seconds until a client gets a stale answer instead of a fresh one. RFC 8767 §5: the client response timer."""
EDNS_SIZE = 1232
"""Bytes. What passes without fragments almost everywhere (DNS flag day 2020; RFC 9715 §3.1 advises 1400 at most)."""
MOST_LOOKUPS = 1024
MOST_WAITING = 64
"""Clients that wait for one lookup. One more is told SERVFAIL."""
FAKE_TTL = 1
"""Seconds for which a client may keep a fake address: its name may lose it."""
HOST_TTL = 60
LONGEST_QUERY_TYPE = 251
"""IXFR and AXFR (RFC 5936) are between servers."""

_edns = b"\0" + (41).to_bytes(2, "big") + EDNS_SIZE.to_bytes(2, "big") + bytes(2)
_LOOPBACK = (bytes([127, 0, 0, 1]), bytes(15) + b"\1")
"""Of localhost and all names below it (RFC 6761 §6.3)."""
_UNREAD = {FORMAT_ERROR, NOT_IMPLEMENTED}
"""What servers say that do not know EDNS (RFC 6891 §7)."""

ReplyTo = Callable[[bytes], None]


class ClientQuery(NamedTuple):
    """A client's query, read once where it came in."""

    query: Query
    key: Key
    """What an answer is kept under."""
    name: str
    """The name that is asked for, in lower case, as text."""

    @classmethod
    def of_untrusted(cls, message: Buffer) -> Self:
        """Read a client's message. Raises BadPacket for anything but a query with one question."""
        query = parse_query_untrusted(message)
        key = key_of(query)
        return cls(query, key, text_of(key[0]))


class Asker(Protocol):
    """Who carries a query to a group of resolvers."""

    def ask(
        self, group: str, query: bytes, heard: Callable[[bytes, str, float], None], ended: Callable[[str, float], None]
    ) -> Callable[[], None]:
        """Send `query` (its identifier is the asker's to choose) to a group.

        `heard(message, server, now)` is called for each reply that matches it, `ended(why, now)` once when no more can
        come; neither from within `ask`. What is returned ends it.
        """


@dataclass(frozen=True, slots=True)
class Plan:
    """What a reload replaces."""

    selector: Selector
    hosts: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
    must_be_real: NameTest = lambda name: False  # noqa: ARG005
    """Names that get no fake address."""
    hides: Callable[[str, int], bool] = lambda name, kind: False  # noqa: ARG005
    """Names and types that are answered with "no such record"."""
    stays: Callable[[str, int], bool] = lambda name, kind: False  # noqa: ARG005
    """Names and types that no resolver is asked for: they do not exist (`special_names.stays_here`)."""
    gives_fake: bool = True
    """Whether names get fake addresses, if there are some; those given out before go on to mean what they did."""
    hide_resolvers: bool = False
    """Whether the names of public resolvers do not exist, so that clients use this one."""


class _Waiting:
    """A client that waits."""

    __slots__ = ("client", "gone", "over_tcp", "query", "reply")

    def __init__(
        self, query: Query, client: bytes, over_tcp: bool, reply: ReplyTo, gone: Callable[[], None] | None
    ) -> None:
        self.query = query
        self.client = client
        self.over_tcp = over_tcp
        self.reply = reply
        self.gone = gone
        """For who must hear also that there will be no answer."""


class Lookup:
    """A question that is being asked."""

    __slots__ = ("cancels", "key", "name", "over", "query", "selection", "stale", "started", "waiting")

    def __init__(self, query: Query, name: str, key: Key, selection: Selection, now: float) -> None:
        self.query = query
        self.name = name
        self.key = key
        self.selection = selection
        self.started = now
        self.stale: Entry | None = None
        self.waiting: list[_Waiting] = []
        self.cancels: list[Callable[[], None]] = []
        self.over = False


Finished = Callable[[Lookup, str], None]


class Resolver:
    """See the module's rules. `plan` may be replaced at any time: lookups under way end as they began. `finished` is
    told of every lookup that ends, with the outcome in words."""

    def __init__(
        self,
        asker: Asker,
        plan: Plan,
        cache: Cache,
        fake: FakeIPMap | None = None,
        seen: SeenNames | None = None,
        finished: Finished | None = None,
    ) -> None:
        self.asker = asker
        self.plan = plan
        self.cache = cache
        self.fake = fake
        self.seen = seen or SeenNames()
        self.dropped = 0
        """Replies that could not be read."""
        self._finished = finished
        self._lookups: dict[Key, Lookup] = {}  # oldest first, which is also the order of their time-outs
        self._times: list[tuple[float, int, Lookup]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._lookups)

    def query(
        self,
        asked: ClientQuery,
        client: bytes,
        over_tcp: bool,
        reply: ReplyTo,
        now: float,
        gone: Callable[[], None] | None = None,
    ) -> None:
        """Answer a query of the client with the packed address `client`: at once, later or never (then `gone`)."""
        query, key, name = asked
        if query.opcode:
            reply(failure(query, NOT_IMPLEMENTED))
            return
        local = self._answer_here(query, name)
        if local is not None:
            reply(local)
        else:
            self._answer(_Waiting(query, client, over_tcp, reply, gone), key, name, now)

    def look_up(self, message: bytes, answered: Callable[[bytes | None], None], now: float) -> None:
        """Ask a question of our own, for real addresses; `answered` is called once, with None when nobody answers."""
        query = parse_query_untrusted(message)
        key = key_of(query)
        name = text_of(key[0])
        hosts = self.plan.hosts.get(name)
        if hosts is not None:
            answered(replies.addresses(query, hosts, HOST_TTL))
        else:
            self._answer(_Waiting(query, b"", True, answered, lambda: answered(None)), key, name, now)

    def _answer(self, waiting: _Waiting, key: Key, name: str, now: float) -> None:
        """From the cache, or by a lookup."""
        query = waiting.query
        found = self.cache.find(key, now)
        if found is not None and found[1] is not Freshness.STALE:
            self._deliver(waiting, found[0], name, now)
            if found[1] is Freshness.DUE and key not in self._lookups:
                self._look_up(query, name, key, now)
            return
        stale = found[0] if found is not None else None
        lookup = self._lookups.get(key)
        if lookup is None and not self.cache.failed_lately(key, now):
            lookup = self._look_up(query, name, key, now)
        if lookup is None or len(lookup.waiting) >= MOST_WAITING:
            self._fail(waiting, stale, name, now)
        elif stale is not None and now >= lookup.started + STALE_AFTER:
            self._deliver(waiting, stale, name, now)
        else:
            lookup.waiting.append(waiting)
            if stale is not None and lookup.stale is None:
                lookup.stale = stale
                self._push(lookup.started + STALE_AFTER, lookup)

    def close(self) -> None:
        """End all lookups without a word."""
        for lookup in list(self._lookups.values()):
            self._end(lookup)

    # Time.

    def next_timeout(self) -> float | None:
        """When `handle_timeout` wants to be called."""
        while self._times and self._times[0][2].over:
            heapq.heappop(self._times)
        due = self._times[0][0] if self._times else None
        for oldest in self._lookups.values():
            limit = oldest.started + LOOKUP_TIME
            return limit if due is None or limit < due else due
        return due

    def handle_timeout(self, now: float) -> None:
        """Do what fell due."""
        for lookup in list(itertools.takewhile(lambda each: each.started + LOOKUP_TIME <= now, self._lookups.values())):
            self.cache.fail(lookup.key, now)
            self._end(lookup, "nobody answered in time")
        while self._times and self._times[0][0] <= now:
            lookup = heapq.heappop(self._times)[2]
            if lookup.over:
                continue
            due = lookup.selection.due
            if due is not None and due <= now:
                lookup.selection.due = None
                lookup.selection.expire(now)
                self._judge(lookup, now)
            if not lookup.over and lookup.stale is not None and now >= lookup.started + STALE_AFTER:
                for waiting in lookup.waiting:  # the lookup goes on: its answer is for the next who asks
                    self._deliver(waiting, lookup.stale, lookup.name, now)
                lookup.waiting = []

    def _push(self, when: float, lookup: Lookup) -> None:
        heapq.heappush(self._times, (when, next(self._order), lookup))

    # What is known here.

    def _answer_here(self, query: Query, name: str) -> bytes | None:
        kind, plan = query.kind, self.plan
        if query.edns_version:
            return bad_version(query)
        if query.question[-2:] != b"\0\1":
            return None
        if LONGEST_QUERY_TYPE <= kind <= LONGEST_QUERY_TYPE + 1:
            return failure(query, REFUSED)
        hosts = plan.hosts.get(name) or (_LOOPBACK if name == "localhost" or name.endswith(".localhost") else None)
        if hosts is not None:
            return replies.addresses(query, hosts, HOST_TTL)
        if name.endswith("resolver.arpa"):
            return replies.nothing(query)
        if plan.hide_resolvers and is_public_resolver(name):
            return replies.nothing(query, NO_SUCH_NAME)
        if plan.stays(name, kind):
            return replies.nothing(query, NO_SUCH_NAME)
        if plan.hides(name, kind):
            return replies.nothing(query)
        return self._fake(query, name) if self.fake is not None else None

    def _fake(self, query: Query, name: str) -> bytes | None:
        """The answer that the map of fake addresses gives."""
        assert self.fake is not None
        kind = query.kind
        if kind == PTR:
            address = reverse_address(query.name)
            if address is None or address not in self.fake:
                return None
            meant = self.fake.name_of(address)
            if meant is None:
                return replies.nothing(query, NO_SUCH_NAME)
            return replies.pointer(query, wire_of(meant), FAKE_TTL)
        if kind not in {A, AAAA, HTTPS, SVCB} or not self.plan.gives_fake:
            return None
        if "." not in name or "\\" in name or self.plan.must_be_real(name):
            return None
        if kind in {HTTPS, SVCB}:  # its address hints would be real ones (RFC 9460 §7.3)
            return replies.nothing(query)
        return replies.addresses(query, self.fake.addresses(name), FAKE_TTL)

    # Lookups.

    def _look_up(self, query: Query, name: str, key: Key, now: float) -> Lookup | None:
        """Begin a lookup; None when there are too many."""
        if len(self._lookups) >= MOST_LOOKUPS:
            return None
        selection = self.plan.selector.select(name, query.kind, now)
        lookup = self._lookups[key] = Lookup(query, name, key, selection, now)
        message = query_of(query)
        for group in selection.groups:
            lookup.cancels.append(self._ask(lookup, group, message))
        return lookup

    def _ask(self, lookup: Lookup, group: str, message: bytes, edns: bool = True) -> Callable[[], None]:
        asked_again = False

        def heard(reply: bytes, server: str, now: float) -> None:
            nonlocal asked_again
            if lookup.over or asked_again:
                return
            if edns and len(reply) > 3 and reply[3] & 15 in _UNREAD:
                asked_again = True
                lookup.selection.note(None, "asked", f"{group} again, without EDNS, which {server} does not know")
                lookup.cancels.append(self._ask(lookup, group, query_of(lookup.query, edns=False), edns=False))
                return
            self._heard(lookup, group, reply, server, now)

        def ended(why: str, now: float) -> None:
            if not lookup.over and not asked_again:
                lookup.selection.note(None, "ended", f"{group}: {why}")
                lookup.selection.ended(group, now)
                self._judge(lookup, now)

        return self.asker.ask(group, message, heard, ended)

    def _heard(self, lookup: Lookup, group: str, message: bytes, server: str, now: float) -> None:
        try:
            answer = parse_answer_untrusted(message)
            if answer.truncated:
                raise BadPacket("a truncated answer")  # who asks has had it over TCP
            addresses = addresses_untrusted(answer) if lookup.query.kind in {A, AAAA} else hints_untrusted(answer)
            if not is_about(answer, lookup.query.kind):
                raise BadPacket("an answer with records of another type")
        except BadPacket as error:
            self.dropped += 1
            lookup.selection.note(None, "dropped", f"{server}: {error}")
            return
        lookup.selection.heard(Reply(answer, tuple(addresses), group, server), now)
        self._judge(lookup, now)

    def _judge(self, lookup: Lookup, now: float) -> None:
        """Finish a lookup whose selection is over, or note when it wants to be woken."""
        selection = lookup.selection
        if selection.chosen is not None:
            chosen = selection.chosen
            entry = self.cache.store(lookup.key, chosen.answer, now)
            entry.addresses = chosen.addresses
            waiting, lookup.waiting = lookup.waiting, []
            self._end(lookup, f"answered by {chosen.server}")
            for each in waiting:
                self._deliver(each, entry, lookup.name, now)
        elif selection.over:
            self.cache.fail(lookup.key, now)
            waiting, lookup.waiting = lookup.waiting, []
            self._end(lookup, "no resolver could answer")
            for each in waiting:
                self._fail(each, lookup.stale, lookup.name, now)
        elif selection.due is not None:
            self._push(selection.due, lookup)

    def _end(self, lookup: Lookup, outcome: str = "") -> None:
        lookup.over = True
        if self._lookups.get(lookup.key) is lookup:
            del self._lookups[lookup.key]
        for cancel in lookup.cancels:
            cancel()
        lookup.cancels.clear()
        for waiting in lookup.waiting:
            if waiting.gone is not None:
                waiting.gone()
        if self._finished is not None and outcome:
            self._finished(lookup, outcome)

    # Answers.

    def _deliver(self, waiting: _Waiting, entry: Entry, name: str, now: float) -> None:
        query = waiting.query
        message = entry.reply(query, now)
        if not waiting.over_tcp and len(message) > query.udp_size:
            waiting.reply(truncated(query))
            return
        if entry.addresses and waiting.client:
            self.seen.told(waiting.client, name, entry.addresses, now)
        waiting.reply(message)

    def _fail(self, waiting: _Waiting, stale: Entry | None, name: str, now: float) -> None:
        if stale is not None:
            self._deliver(waiting, stale, name, now)
        else:
            waiting.reply(failure(waiting.query, SERVER_FAILURE))


def query_of(query: Query, edns: bool = True) -> bytes:
    """The query that goes out for a client's: the same question, with what changes the answer."""
    flags = 0x0100 | query.flags & 0x0010 | 0x0020  # RD; CD as the client has it; AD: we understand it (RFC 6840 §5.7)
    name = query.name.lower()
    if not edns:
        return HEADER.pack(0, flags, 1, 0, 0, 0) + name + query.question[-4:]
    record = _edns + (b"\x80\0" if query.dnssec_ok else b"\0\0") + b"\0\0"
    return HEADER.pack(0, flags, 1, 0, 0, 1) + name + query.question[-4:] + record


def question(name: str, kind: int) -> bytes:
    """A client's query for `name`, as `tunflow explain` and the tunnel itself ask."""
    return HEADER.pack(0, 0x0100, 1, 0, 0, 0) + wire_of(name) + kind.to_bytes(2, "big") + IN.to_bytes(2, "big")
