"""Several resolvers that are asked as one: all at once, or one after the other.

Rules: a resolver that answers "I cannot" (SERVFAIL, REFUSED and such) has ended as one that is silent has. In turn, the
next is asked when one ends, or says nothing for `STAGGER` seconds; whatever comes from any of them is handed on. One
that could not be reached is asked last for `BENCHED` seconds; "I cannot" is about one name and does not count.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunflow.dns.messages import without_edns
from tunflow.loop.reactor import Reactor, Timer
from tunflow.names.exchange import Cancel, Ended, Heard, Upstreams

STAGGER = 0.8
"""Seconds. Most lookups take less; and several resolvers fit into the time that a client waits."""
BENCHED = 30.0
_UNREAD = {1, 4}
"""FORMERR and NOTIMP: what servers say that do not know EDNS. They are asked again without (RFC 6891 §7)."""
_CANNOT = {1: "FORMERR", 2: "SERVFAIL", 4: "NOTIMP", 5: "REFUSED", 9: "NOTAUTH"}
"""RFC 1035 §4.1.1, RFC 2136 §2.2."""


class ResolverGroup:
    """See the module's rules. `race` asks all at once."""

    def __init__(self, reactor: Reactor, label: str, members: Sequence[Upstreams], race: bool) -> None:
        self.label = label
        self._reactor = reactor
        self._members = list(members)
        self._race = race
        self._benched: dict[int, float] = {}
        """By member, until when."""

    def ask(self, query: bytes, heard: Heard, ended: Ended) -> Cancel:
        """As `Upstreams.ask`."""
        now = self._reactor.now
        order = sorted(range(len(self._members)), key=lambda number: self._benched.get(number, 0.0) > now)
        return _GroupAsk(self, self._reactor, order, query, heard, ended).cancel

    def member(self, number: int) -> Upstreams:
        """A resolver by its place."""
        return self._members[number]

    @property
    def races(self) -> bool:
        """True if all are asked at once."""
        return self._race

    def failed(self, number: int) -> None:
        """A resolver had nothing to say."""
        self._benched[number] = self._reactor.now + BENCHED

    def answered(self, number: int) -> None:
        """A resolver is well."""
        self._benched.pop(number, None)

    def reconnect(self) -> None:
        """As `Upstreams.reconnect`; whoever failed before may be well again."""
        self._benched.clear()
        for member in self._members:
            member.reconnect()

    def close(self) -> None:
        """Give everything back."""
        for member in self._members:
            member.close()


class _GroupAsk:
    """One query to a group."""

    __slots__ = ("_cancels", "_ended", "_group", "_heard", "_left", "_over", "_query", "_reactor", "_running", "_timer")

    def __init__(
        self, group: ResolverGroup, reactor: Reactor, order: list[int], query: bytes, heard: Heard, ended: Ended
    ) -> None:
        self._group = group
        self._reactor = reactor
        self._left = order
        self._query = query
        self._heard = heard
        self._ended = ended
        self._cancels: list[Cancel] = []
        self._running: set[int] = set()
        self._timer: Timer | None = None
        self._over = False
        self._next()
        while group.races and self._left:
            self._next()

    def cancel(self) -> None:
        """Ask nobody any more."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for cancel in self._cancels:
            cancel()
        self._cancels.clear()

    def _next(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        number = self._left.pop(0)
        self._running.add(number)

        self._cancels.append(self._ask(number, self._query, edns=True))
        if self._left and not self._group.races:
            self._timer = self._reactor.call_later(STAGGER, self._next)

    def _ask(self, number: int, query: bytes, *, edns: bool) -> Cancel:
        """Ask a resolver; once more, without EDNS, if it does not know that."""
        asked_again = False

        def heard(message: bytes, label: str, now: float) -> None:
            nonlocal asked_again
            if self._over or asked_again:
                return
            code = message[3] & 15
            self._group.answered(number)
            if edns and code in _UNREAD:
                asked_again = True
                cancel()
                self._cancels.append(self._ask(number, without_edns(query), edns=False))
            elif code in _CANNOT:
                self._pass_over(number, f"it answered {_CANNOT[code]}", now)
            else:
                self._heard(message, label, now)

        def end(why: str, now: float) -> None:
            if not self._over and not asked_again and number in self._running:
                self._group.failed(number)
                self._pass_over(number, why, now)

        cancel = self._group.member(number).ask(query, heard, end)
        return cancel

    def _pass_over(self, number: int, why: str, now: float) -> None:
        """A resolver has nothing for us."""
        if self._over or number not in self._running:
            return
        self._running.discard(number)
        if self._left:
            self._next()
        elif not self._running:
            self._ended(f"{self._group.member(number).label}: {why}", now)
