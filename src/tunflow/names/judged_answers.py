"""Answers under a content filter: a harmless name may be an alias of one that is blocked, and is refused then."""

from __future__ import annotations

from collections.abc import Callable

from tunflow.dns import replies
from tunflow.dns.answers import HTTPS, NO_SUCH_NAME, SVCB, led_to_untrusted, parse_answer_untrusted
from tunflow.dns.messages import SERVER_FAILURE, failure
from tunflow.dns.questions import ClientQuery
from tunflow.errors import BadPacket
from tunflow.flow import FlowInfo
from tunflow.names.rules import NameRules

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
