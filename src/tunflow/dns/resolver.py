"""The resolver: a client's query in, an answer out, from what is known or from who is asked. A machine without I/O.

The path of a query, the first that applies:
1. what is answered here (`local_answers`: hosts, fake addresses, names that nobody is asked for);
2. the cache;
3. a lookup for the same question that is under way already (one goes out, however many clients ask);
4. a lookup: the selector says which groups are asked and which reply is believed.

Rules: a lookup that fails is told as SERVFAIL, and one that nobody answers is forgotten without a word, because by then
the client has asked again; but what the cache still has, however old, is better than both (RFC 8767).

Read first: RFC 1034 §5, RFC 2308, RFC 5452, RFC 8767.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable

from tunflow.dns import replies
from tunflow.dns.answers import (
    AAAA,
    NO_SUCH_NAME,
    A,
    Answer,
    addresses_untrusted,
    hints_untrusted,
    is_about,
    parse_answer_untrusted,
)
from tunflow.dns.cache import Cache, CachedAnswer, Freshness, Key, key_of
from tunflow.dns.fake_ip import FakeIPMap
from tunflow.dns.local_answers import HOST_TTL, hosts_of, local_answer
from tunflow.dns.lookup import Asker, Finished, PendingQuery, ReplyTo, WaitingClient
from tunflow.dns.messages import NOT_IMPLEMENTED, SERVER_FAILURE, Query, failure, parse_query_untrusted, truncated
from tunflow.dns.names import text_of
from tunflow.dns.proof import Judgement, Unproved
from tunflow.dns.questions import DNSSEC, ClientQuery, query_of, question
from tunflow.dns.resolver_plan import ResolverPlan
from tunflow.dns.seen_names import SeenNames
from tunflow.dns.selection import Reply
from tunflow.errors import BadPacket

LOOKUP_TIME = 5.0
"""Seconds until a lookup is given up: the first time-out of glibc (RES_TIMEOUT) and of musl."""
STALE_AFTER = 1.8
"""Seconds until a client gets a stale answer instead of a fresh one. RFC 8767 §5: the client response timer."""
MOST_LOOKUPS = 1024
MOST_WAITING = 64
"""Clients that wait for one lookup. One more is told SERVFAIL."""


class Resolver:
    """See the module's rules. `plan` may be replaced at any time: lookups under way end as they began. `finished` is
    told of every lookup that ends, with the outcome in words."""

    def __init__(
        self,
        asker: Asker,
        plan: ResolverPlan,
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
        self._lookups: dict[Key, PendingQuery] = {}  # oldest first, which is also the order of their time-outs
        self._times: list[tuple[float, int, PendingQuery]] = []
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
        local = local_answer(self.plan, self.fake, query, name)
        if local is not None:
            reply(local)
        else:
            self._answer(WaitingClient(query, client, over_tcp, reply, gone), key, name, now)

    def fakes(self, asked: ClientQuery) -> bool:
        """Return True if a query is answered with fake addresses."""
        fake = self.fake
        if fake is None or asked.query.opcode or asked.query.kind not in {A, AAAA}:
            return False
        local = local_answer(self.plan, fake, asked.query, asked.name)
        return local is not None and any(each in fake for each in addresses_untrusted(parse_answer_untrusted(local)))

    def look_up(self, message: bytes, answered: Callable[[bytes | None], None], now: float) -> None:
        """Ask a question of our own, for real addresses; `answered` is called once, with None when nobody answers."""
        query = parse_query_untrusted(message)
        key = key_of(query)
        name = text_of(key[0])
        if (other := self.plan.aliases.get(name)) is not None:
            self.look_up(question(other, query.kind), answered, now)
            return
        hosts = hosts_of(self.plan, name)
        if hosts is not None:
            answered(replies.addresses(query, hosts, HOST_TTL))
        elif self.plan.stays(name, query.kind):
            answered(replies.nothing(query, NO_SUCH_NAME))
        else:
            self._answer(WaitingClient(query, b"", True, answered, lambda: answered(None)), key, name, now)

    def _answer(self, waiting: WaitingClient, key: Key, name: str, now: float) -> None:
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

    def _push(self, when: float, lookup: PendingQuery) -> None:
        heapq.heappush(self._times, (when, next(self._order), lookup))

    # Lookups.

    def _look_up(self, query: Query, name: str, key: Key, now: float) -> PendingQuery | None:
        """Begin a lookup; None when there are too many."""
        if len(self._lookups) >= MOST_LOOKUPS:
            return None
        selection = self.plan.selector.select(name, query.kind, now)
        lookup = self._lookups[key] = PendingQuery(query, name, key, selection, now)
        message = query_of(query, self.plan.dnssec)
        try:
            for group in selection.groups:
                lookup.cancels.append(self._ask(lookup, group, message))
        except Exception:
            self._end(lookup)  # nobody knows what was asked: the next query begins anew
            raise
        return lookup

    def _ask(self, lookup: PendingQuery, group: str, message: bytes) -> Callable[[], None]:
        def heard(reply: bytes, server: str, now: float) -> None:
            if not lookup.over and not lookup.validating:
                self._heard(lookup, group, reply, server, now)

        def ended(why: str, now: float) -> None:
            if not lookup.over and not lookup.validating:
                lookup.selection.note(None, "ended", f"{group}: {why}")
                lookup.selection.ended(group, now)
                self._judge(lookup, now)

        return self.asker.ask(group, message, heard, ended)

    def _heard(self, lookup: PendingQuery, group: str, message: bytes, server: str, now: float) -> None:
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

    def _judge(self, lookup: PendingQuery, now: float) -> None:
        """Finish a lookup whose selection is over, or note when it wants to be woken."""
        selection = lookup.selection
        if selection.chosen is not None:
            validation = self.plan.validation
            if validation is not None and not lookup.query.checking_disabled:
                self._stop_asking(lookup)
                lookup.validating = True
                judgement = validation.judge(selection.chosen.answer.message, lookup.query.dnssec_ok)
                self._validate(lookup, selection.chosen, judgement, None, now)
            else:
                self._take(lookup, selection.chosen, selection.chosen.answer, now)
        elif selection.over:
            self._give_up(lookup, "no resolver could answer", now)
        elif selection.due is not None:
            self._push(selection.due, lookup)

    def _validate(
        self, lookup: PendingQuery, chosen: Reply, judgement: Judgement, answer: bytes | None, now: float
    ) -> None:
        """Go on with the signatures of an answer."""
        try:
            message, asked = judgement.go_on(answer)
            if message is not None:
                self._take(lookup, chosen, parse_answer_untrusted(message), now)
                return
        except (Unproved, BadPacket) as error:
            lookup.selection.note(None, "bogus", f"{chosen.server}: {error}")
            lookup.selection.chosen = None
            self._give_up(lookup, f"its signatures do not hold: {error}", now)
            return
        assert asked is not None, "there is an answer, or a question"
        self._ask_for_proof(lookup, chosen, judgement, asked)

    def _ask_for_proof(self, lookup: PendingQuery, chosen: Reply, judgement: Judgement, asked: bytes) -> None:
        """Ask those who gave the answer for what proves it."""
        is_answered = False

        def go_on(answer: bytes | None, now: float) -> None:
            nonlocal is_answered
            if lookup.over or is_answered:
                return
            is_answered = True
            self._stop_asking(lookup)
            self._validate(lookup, chosen, judgement, answer, now)

        def heard(message: bytes, _server: str, now: float) -> None:
            go_on(message, now)

        cancel = self.asker.ask(chosen.group, asked, heard, lambda _why, now: go_on(None, now))
        lookup.cancels.append(cancel)

    @staticmethod
    def _stop_asking(lookup: PendingQuery) -> None:
        for cancel in lookup.cancels:
            cancel()
        lookup.cancels.clear()

    def _take(self, lookup: PendingQuery, chosen: Reply, answer: Answer, now: float) -> None:
        """Finish a lookup with an answer."""
        entry = self.cache.store(lookup.key, answer, now)
        entry.addresses = chosen.addresses
        if self.plan.dnssec is not DNSSEC.PASS and not lookup.validating:
            entry.authentic = False  # what others say of signatures is not what we say
        waiting, lookup.waiting = lookup.waiting, []
        try:
            self._end(lookup, f"answered by {chosen.server}")
        finally:
            _each(waiting, lambda each: self._deliver(each, entry, lookup.name, now))

    def _give_up(self, lookup: PendingQuery, why: str, now: float) -> None:
        """Finish a lookup without an answer."""
        self.cache.fail(lookup.key, now)
        waiting, lookup.waiting = lookup.waiting, []
        try:
            self._end(lookup, why)
        finally:
            _each(waiting, lambda each: self._fail(each, lookup.stale, lookup.name, now))

    def _end(self, lookup: PendingQuery, outcome: str = "") -> None:
        lookup.over = True
        if self._lookups.get(lookup.key) is lookup:
            del self._lookups[lookup.key]
        self._stop_asking(lookup)
        for waiting in lookup.waiting:
            if waiting.gone is not None:
                waiting.gone()
        if self._finished is not None and outcome:
            self._finished(lookup, outcome)

    # Answers.

    def _deliver(self, waiting: WaitingClient, entry: CachedAnswer, name: str, now: float) -> None:
        query = waiting.query
        message = entry.reply(query, now)
        if not waiting.over_tcp and len(message) > query.udp_size:
            waiting.reply(truncated(query))
            return
        if entry.addresses and waiting.client:
            self.seen.told(waiting.client, name, entry.addresses, now)
        waiting.reply(message)

    def _fail(self, waiting: WaitingClient, stale: CachedAnswer | None, name: str, now: float) -> None:
        if stale is not None:
            self._deliver(waiting, stale, name, now)
        else:
            waiting.reply(failure(waiting.query, SERVER_FAILURE))


def _each(waiting: Iterable[WaitingClient], answer: Callable[[WaitingClient], None]) -> None:
    """Answer all who wait: a bug in one of them does not keep the others from theirs."""
    left = iter(waiting)
    try:
        for each in left:
            answer(each)
    except Exception:
        _each(left, answer)
        raise
