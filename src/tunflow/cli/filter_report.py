"""A filter's log and state in words: who, what, why and when, for who runs a network and reads no JSON."""

from __future__ import annotations

import pwd
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

from tunflow.profiles.sections.filter import FilterSection, ListSection, ScheduleSection

Facts = Mapping[str, Any]
"""A line of the log."""

MOST_SHOWN = 5
"""Names that the status shows of those that were blocked most."""

LAST_SHOWN = 3
"""Lines of the log that the status shows."""

_DOORS = {
    "encrypted-dns": "encrypted DNS",
    "quic": "QUIC (HTTP/3)",
    "raw-ip": "sites without a name",
    "vpn": "ports of VPNs and proxies",
    "ech": "encrypted hellos",
}
_PRIVACY = {
    "none": "no log is kept",
    "counts": "how much was blocked, not what",
    "domains": "what was blocked, not for whom",
    "full": "everything, with programs and devices",
}


class MostBlocked(NamedTuple):
    """A host that was blocked, and how often."""

    host: str
    times: int
    why: str
    """The latest reason."""
    last: str
    """When it was blocked last, as the log has it."""


def event_line(facts: Facts) -> str:
    """One line of the log for people: when, what happened, to what, for whom, why."""
    when, kind = _when(facts.get("time")), str(facts.get("event", "?"))
    if kind == "counts":
        return f"{when}  {counts_text(facts)}"
    if kind == "gap":
        return f"{when}  lines missing here: {facts.get('missing', '?')} (the log could not be written)"
    what = printable(facts.get("url") or facts.get("host") or "?")
    parts = [when, f"{kind:<7}", what, _who(facts)]
    if kind == "ended":
        parts.append(f"{_size(facts.get('bytes_in'))} in, {_size(facts.get('bytes_out'))} out")
    else:
        parts.append(why_text(facts))
    return "  ".join(part for part in parts if part)


def why_text(facts: Facts) -> str:
    """Why, in words: the list with its line and category, or another reason."""
    name, line, category = facts.get("list"), facts.get("line"), facts.get("category")
    if name is None:
        return printable(facts.get("why", ""))
    told = f"list {printable(name)}, line {line}" + (f" ({printable(category)})" if category else "")
    why = printable(facts.get("why", ""))
    return told if why.startswith(("blocked by ", "allowed by ")) else f"{told}: {why.partition(': blocked by ')[0]}"


def counts_text(facts: Facts) -> str:
    """How many passed and were blocked, and by which lists."""
    counts = {key: value for key, value in facts.items() if isinstance(value, int)}
    told = [f"{counts.get(key, 0):,} {key}" for key in ("blocked", "passed", "forged") if key in counts]
    lists = {key.removeprefix("list "): count for key, count in counts.items() if key.startswith("list ")}
    by_list = ", ".join(f"{printable(name)} {count:,}" for name, count in sorted(lists.items(), key=_most_first))
    return (", ".join(told) or "nothing happened") + (f" (by lists: {by_list})" if by_list else "")


def most_blocked(events: Iterable[Facts]) -> list[MostBlocked]:
    """The hosts that were blocked, the most often first."""
    found: dict[str, MostBlocked] = {}
    for facts in events:
        if facts.get("event") == "blocked":
            host = str(facts.get("host", "?"))
            times = found[host].times if host in found else 0
            found[host] = MostBlocked(host, times + 1, why_text(facts), str(facts.get("time", "")))
    return sorted(found.values(), key=lambda each: (-each.times, each.host))


def who_was_blocked(events: Iterable[Facts]) -> Counter[str]:
    """How often whom, as far as the log tells."""
    return Counter(who for facts in events if facts.get("event") == "blocked" and (who := _who(facts)))


def status_lines(
    section: FilterSection, name: str, log: str, events: Iterable[Facts], today: date
) -> Iterator[tuple[str, str]]:
    """What a filter is set to and what it did, as words and what belongs to them."""
    yield "filter", f"{'on' if section.enabled else 'off (enabled = false)'}, of {name}"
    if section.provider is not None:
        yield "decides", section.provider
    for each in section.lists:
        yield ("allows" if each.action == "allow" else "blocks"), _list_text(each, section)
    if section.only_allowed:
        yield "else", "only what a list allows may pass"
    if section.close:
        yield "closed", ", ".join(_DOORS[door] for door in section.close)
    if section.safe_search:
        yield "search", "engines and YouTube are held to their strict modes"
    yield "failure", f"what it cannot judge is {'refused' if section.on_failure == 'closed' else 'let through'}"
    yield "log", f"{log}: {_PRIVACY[section.privacy]}"
    all_events = list(events)
    of_today = [facts for facts in all_events if str(facts.get("time", "")).startswith(today.isoformat())]
    for word, some in (("today", of_today), ("in all", all_events)):
        yield word, counts_text(sum_of_counts(some))
    top = most_blocked(of_today or all_events)[:MOST_SHOWN]
    if top:
        yield "mostly", ", ".join(f"{printable(each.host)} ({each.times:,})" for each in top)
    whom = who_was_blocked(of_today or all_events).most_common(MOST_SHOWN)
    if whom:
        yield "for", ", ".join(f"{who} ({count:,})" for who, count in whom)
    for number, facts in enumerate(last_blocked(all_events)):
        yield "" if number else "last", event_line(facts)


def last_blocked(events: Sequence[Facts]) -> list[Facts]:
    """The latest lines about something blocked, the last first."""
    return list(islice((facts for facts in reversed(events) if facts.get("event") == "blocked"), LAST_SHOWN))


def sum_of_counts(events: Iterable[Facts]) -> Counter[str]:
    """All lines of counts together."""
    counts: Counter[str] = Counter()
    for facts in events:
        if facts.get("event") == "counts":
            counts.update({key: value for key, value in facts.items() if isinstance(value, int)})
    return counts


def _list_text(each: ListSection, section: FilterSection) -> str:
    told = each.name + (f" ({each.category})" if each.category else "")
    if each.schedule is not None:
        told += f", {_hours(section.schedules[each.schedule])}"
    whose = [*each.clients, *each.apps, *(_user(uid) for uid in each.uids)]
    return told + (f", for {', '.join(whose)}" if whose else "")


def _hours(schedule: ScheduleSection) -> str:
    return f"{', '.join(schedule.weekdays)} {schedule.start}-{schedule.end}"


def _who(facts: Facts) -> str:
    """A program and its user, and a device; "" where the log does not tell."""
    program, uid = facts.get("program"), facts.get("uid")
    client, device, name = facts.get("client"), facts.get("device"), facts.get("device_name")
    found = []
    if program:
        found.append(printable(str(program).rpartition("/")[2]) + (f" of {_user(uid)}" if isinstance(uid, int) else ""))
    elif isinstance(uid, int):
        found.append(_user(uid))
    if device or name or (client and not found):
        told = printable(client) + (f" [{printable(device)}]" if device else "")
        found.append(f"{printable(name)} ({told})" if name else told)
    return ", ".join(found)


@lru_cache(maxsize=256)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return f"user {uid}"


def _when(text: object) -> str:
    try:
        return datetime.fromisoformat(str(text)).strftime("%a %Y-%m-%d %H:%M:%S")
    except ValueError:
        return "at some time"


def _size(count: object) -> str:
    """Bytes with a unit."""
    size = float(count) if isinstance(count, int) else 0.0
    for unit in ("B", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def printable(given: object) -> str:
    """What others chose, without what does something to a terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in str(given))


def _most_first(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]
