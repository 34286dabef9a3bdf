"""What a client's query is answered with by the rules of lists: `$dnsrewrite`, hosts lines with addresses, `$dnstype`.

They come before all other rules, as in AdGuard's resolver. Of several rules an alias counts first, then a refusal,
else all records together; a name that has records by rules has none of other types.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from tunflow.filter.block_list import STEPS
from tunflow.filter.conditional_rules import ConditionalLine
from tunflow.filter.conditions import NameAnswer
from tunflow.filter.judge import Cause, Judge, ListUse, Ruling, Subject
from tunflow.filter.list_line import EXCEPT, IMPORTANT
from tunflow.filter.wildcard import URLText
from tunflow.rules.domains import suffixes
from tunflow.rules.expression import Allowance, OutOfAllowance

_Told = tuple[ListUse, ConditionalLine]


class QueryRuling(NamedTuple):
    """What a query is answered with in place of what there is."""

    code: int
    """The response code."""
    alias: str
    """The name whose addresses it gets; "" where there is none."""
    records: tuple[tuple[int, bytes], ...]
    """Types of records and their data in wire form, also of other types than the one asked for."""
    ruling: Ruling


def query_ruling(judge: Judge, subject: Subject, kind: int, at: datetime) -> QueryRuling | None:
    """What a query of a client for records of a type is answered with; None where no rule says."""
    if not judge.looks_at_queries or subject.host is None:
        return None
    try:
        found = _found(judge, subject, kind, at)
    except OutOfAllowance:
        return None  # the name is judged all the same
    exceptions = [each for _, each in found if each.strength & EXCEPT]
    told = [
        (use, each)
        for use, each in found
        if not each.strength & EXCEPT and not any(_ends(exception, each) for exception in exceptions)
    ]
    rewriting = [each for each in told if each[1].conditions.rewrites]
    if rewriting:
        return _joined(rewriting)
    if not told:
        return None
    ruling = judge.judge(subject, at, strict=False)
    is_allowed = ruling.list is not None and not ruling.blocked
    blocking = [each for each in told if not is_allowed or each[1].strength & IMPORTANT]
    return _joined(blocking) if blocking else None


def _found(judge: Judge, subject: Subject, kind: int, at: datetime) -> list[_Told]:
    """The rules about queries that hold for one. Raises OutOfAllowance."""
    assert subject.host is not None
    names, text, allowance = [*suffixes(subject.host)], URLText(f"http://{subject.host}/"), Allowance(STEPS)
    found: list[_Told] = []
    for use in judge.lists:
        if not use.list.conditional.has_queries or not use.concerns(subject, at, unknown=False):
            continue
        for each in use.list.conditional.find(names, text, allowance):
            asked = each.conditions
            if not asked.is_about_queries or not asked.has_kind(kind) or (use.allows and asked.rewrites):
                continue
            if asked.audience is None or judge.devices.concerns(
                asked.audience, subject.client, subject.hardware, unknown=False
            ):
                found.append((use, each._replace(strength=each.strength | EXCEPT) if use.allows else each))
    return found


def _ends(exception: ConditionalLine, rule: ConditionalLine) -> bool:
    """Return True if an exception has a rule count for nothing."""
    if exception.strength < rule.strength:
        return False
    if exception.conditions.rewrites:
        wanted = exception.conditions.answer
        return rule.conditions.rewrites and (wanted is None or wanted == rule.conditions.answer)
    return not rule.conditions.rewrites


def _joined(told: Sequence[_Told]) -> QueryRuling:
    use, first = min(told, key=lambda each: _order(each[1].conditions.answer))
    answer = first.conditions.answer or NameAnswer()
    others = [each.conditions.answer for _, each in told] if not answer.code and not answer.alias else []
    records = tuple(dict.fromkeys((each.kind, each.data) for each in others if each is not None and each.kind))
    blocked = not answer.alias and not records
    why = f"{'blocked' if blocked else 'answered'} by {use.list.name}:{first.line}"
    ruling = Ruling(blocked, why, use.list.name, first.line, use.category, Cause.LIST if blocked else None)
    return QueryRuling(answer.code, answer.alias, records, ruling)


def _order(answer: NameAnswer | None) -> int:
    if answer is None:
        return 3
    return 0 if answer.alias else 1 if answer.code else 2
