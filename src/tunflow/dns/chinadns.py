"""ChinaDNS as it was: domestic and foreign resolvers are asked at once, and each reply is judged by where it came from
and where its addresses are.

The table (ChinaDNS 1.3.2, `src/chinadns.c`, described in its README; written anew here). The answer's records are taken
in order, and the first line that fits ends it:

| reply | from abroad | domestic |
|---|---|---|
| no record in the answer | delay (mutation: pass) | delay (mutation: drop) |
| this record: A of the blacklist (not with mutation) | drop | drop |
| this record: A inside the country | drop if bidirectional, else next | next |
| this record: A outside the country | next | drop |
| this record: AAAA or PTR | pass | pass |
| no record left, there was exactly one | delay (mutation: pass) | delay (mutation: pass) |
| no record left, there were more | pass | pass |

One lone address was typical of injected answers, so such a reply waits for `delay` seconds, for a better one to come;
the newest of those that wait is taken then. A server of unknown side (no list of the country, or one server only) is
neither: the lines about the country do not apply.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tunflow.dns.answers import AAAA, ANSWER, IN, PTR, A, Answer
from tunflow.dns.selection import AddressTest, FirstReply, Reply, Selection

DELAY = 0.3
"""Seconds; the original's default of `-y`."""
DOMESTIC = "domestic"
FOREIGN = "foreign"


class ReplyVerdict(Enum):
    """What becomes of a reply."""

    PASS = "pass"  # noqa: S105
    DELAY = "delay"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class ChinaDNS:
    """The original's options: `-c`, `-l`, `-d`, `-m` and `-y`. As a selector it asks both groups."""

    in_country: AddressTest | None = None
    blacklisted: AddressTest | None = None
    bidirectional: bool = False
    mutation: bool = False
    delay: float = DELAY

    def select(self, name: str, kind: int, now: float) -> Selection:  # noqa: ARG002
        """As `Selector.select`. Only answers with addresses can be judged: any other type is asked for abroad."""
        return ChinaDNSSelection(self) if kind in {A, AAAA, PTR} else FirstReply((FOREIGN,))

    def network_changed(self) -> None:
        """As `Selector.network_changed`: nothing was."""


def judge(answer: Answer, group: str | None, options: ChinaDNS) -> tuple[ReplyVerdict, str]:
    """The table. `group` is `DOMESTIC`, `FOREIGN`, or None for a server of neither side."""
    in_country = options.in_country if group is not None else None
    records = [record for record in answer.records if record.section == ANSWER]
    if not records:
        if options.mutation:
            verdict = ReplyVerdict.DROP if group == DOMESTIC else ReplyVerdict.PASS
            return verdict, "it holds no record"
        return ReplyVerdict.DELAY, "it holds no record"
    for record in records:
        if record.kind in {AAAA, PTR}:
            return ReplyVerdict.PASS, "AAAA and PTR are not judged"
        if record.kind != A or record.klass != IN:
            continue
        address = answer.data(record)
        shown = ".".join(map(str, address))
        if not options.mutation and options.blacklisted is not None and options.blacklisted(address):
            return ReplyVerdict.DROP, f"{shown} is in the blacklist"
        if in_country is None:
            continue
        if in_country(address):
            if group == FOREIGN and options.bidirectional:
                return ReplyVerdict.DROP, f"{shown} is inside the country, and the resolver is not"
        elif group == DOMESTIC:
            return ReplyVerdict.DROP, f"{shown} is outside the country, and the resolver is not"
    if len(records) == 1 and not options.mutation:
        return ReplyVerdict.DELAY, "it holds one record only, as injected answers do"
    return ReplyVerdict.PASS, "its addresses are where they should be"


class ChinaDNSSelection(Selection):
    """One lookup by the table."""

    def __init__(self, options: ChinaDNS) -> None:
        super().__init__((DOMESTIC, FOREIGN))
        self._options = options
        self._held: Reply | None = None

    def heard(self, reply: Reply, now: float) -> None:
        """Judge it."""
        verdict, why = judge(reply.answer, reply.group, self._options)
        if verdict is ReplyVerdict.PASS:
            self.take(reply, why)
        elif verdict is ReplyVerdict.DELAY:
            self.note(reply, "delayed", why)
            self._held = reply
            self.due = now + self._options.delay
        else:
            self.note(reply, "dropped", why)

    def ended(self, group: str, now: float) -> None:
        """With nobody left to wait for, what was held is the answer."""
        super().ended(group, now)
        if self._silent.issuperset(self.groups):
            self.expire(now)

    def expire(self, now: float) -> None:  # noqa: ARG002
        """The delay is over."""
        self.due = None
        if self._held is not None and self.chosen is None:
            self.take(self._held, "nothing better came")
