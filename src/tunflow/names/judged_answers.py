"""Answers under a content filter: a harmless name may be an alias of one that is blocked, and is refused then.

What a name with a fake address is an alias of, only the far side would find out. So a client's query for one waits for
the real answer, which the tunnel's resolver gives and the cache keeps.
"""

from __future__ import annotations

from collections.abc import Callable

from tunflow.dns import replies
from tunflow.dns.answers import HTTPS, NO_SUCH_NAME, SVCB, A, led_to_untrusted, parse_answer_untrusted
from tunflow.dns.messages import SERVER_FAILURE, failure
from tunflow.dns.questions import ClientQuery
from tunflow.errors import BadPacket
from tunflow.flow import FlowInfo
from tunflow.loop.reactor import Reactor
from tunflow.names.rules import NameRules

PATIENCE = 1.0
"""Seconds that a query waits for what its name is an alias of: then it is answered, and what comes is only noted."""

MOST_UNANSWERED = 3
"""Waits in vain behind one another, after which nobody waits until an answer comes: no resolver is reached."""

_ALIAS = b"\0\5\0\1"
"""Type and class of a CNAME record (RFC 1035 §3.2.2): an answer without these bytes has none."""


def judged(
    query: ClientQuery, flow: FlowInfo, reply: Callable[[bytes], None], rules: NameRules
) -> Callable[[bytes], None]:
    """Return what to reply by instead: it tells `reply` that there is no such name where the rules want that."""

    def answered(message: bytes) -> None:
        refused = leads_to_refused(query.name, message, flow, rules, query.query.kind)
        if refused is None:
            reply(failure(query.query, SERVER_FAILURE))
        else:
            reply(replies.nothing(query.query, NO_SUCH_NAME) if refused else message)

    return answered


def leads_to_refused(name: str, message: bytes, flow: FlowInfo, rules: NameRules, kind: int) -> bool | None:
    """Return True if an answer about a name leads to names that are refused; None if it cannot be read."""
    if rules.refuses_answer is None or (_ALIAS not in message and kind not in {HTTPS, SVCB}):
        return False
    try:
        names = led_to_untrusted(parse_answer_untrusted(message))
    except BadPacket:
        return None
    return bool(names) and rules.refuses_answer(name, names, flow)


class AliasPatience:
    """How long queries wait for real answers: no longer where none ever comes."""

    def __init__(self) -> None:
        self._unanswered = 0

    @property
    def seconds(self) -> float:
        """How long the next query waits at most."""
        return PATIENCE if self._unanswered < MOST_UNANSWERED else 0.0

    def heard(self) -> None:
        """A resolver answered."""
        self._unanswered = 0

    def waited_in_vain(self) -> None:
        """None did in time."""
        self._unanswered += 1


class AwaitedAliases:
    """A client's query for a name with a fake address, until it is known what the name is an alias of."""

    def __init__(
        self,
        reactor: Reactor,
        patience: AliasPatience,
        query: ClientQuery,
        flow: FlowInfo,
        reply: Callable[[bytes], None],
        rules: NameRules,
        answer: Callable[[], None],
    ) -> None:
        """`answer` has the client told the fake addresses."""
        self._query = query
        self._flow = flow
        self._reply = reply
        self._rules = rules
        self._answer = answer
        self._patience = patience
        seconds = patience.seconds
        self._is_over = not seconds
        self._timer = reactor.call_later(seconds, self._give_up) if seconds else None
        if self._is_over:
            answer()

    def heard(self, message: bytes | None) -> None:
        """The real answer, None where nobody gave one: the far side may know the name all the same."""
        query = self._query
        if message is not None:
            self._patience.heard()
        refused = message is not None and leads_to_refused(query.name, message, self._flow, self._rules, A)
        if self._is_over:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._is_over = True
        if refused is False:
            self._answer()
            return
        made = replies.nothing(query.query, NO_SUCH_NAME) if refused else failure(query.query, SERVER_FAILURE)
        self._reply(made)

    def _give_up(self) -> None:
        self._is_over = True
        self._patience.waited_in_vain()
        self._answer()
