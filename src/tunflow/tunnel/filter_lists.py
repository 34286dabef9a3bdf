"""A filter's lists on disk, read into a `Judge`; and where `tunflow filter update` fetches them from.

Fetched lists live in the data directory as rule sets do (`rule_data`), under `filter-lists`, and are replaced by the
same rules (`rule_update`): parsed first, the last good one kept, no list taken that shrank by more than half.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from tunflow.errors import BadPacket, LocalError
from tunflow.filter.block_list import BlockList
from tunflow.filter.judge import Judge, ListUse
from tunflow.filter.schedule import Schedule
from tunflow.host.rights.open_file import OpenFile, open_file
from tunflow.profiles.sections.filter import FilterSection, ListSection, ScheduleSection, hardware_address
from tunflow.rules.cidr import CIDRSet
from tunflow.tunnel import rule_data
from tunflow.tunnel.rule_update import Source

Tell = Callable[[str], None]


def make_judge(section: FilterSection, base: Path, tell: Tell, opens: OpenFile = open_file) -> Judge:
    """The judge of a profile's filter; `base` is where relative paths begin. Raises LocalError.

    A list that was never fetched is one that cannot be judged by: with `on_failure` open it is told of and left out.
    """
    uses = []
    for each in section.lists:
        path = list_path(each, base)
        if path is None:
            missing = f"filter: the list {each.name} was never fetched: run `tunflow filter update`"
            if section.on_failure == "closed":
                raise LocalError(missing)
            tell(f"{missing}; until then it is left out (on_failure is open)")
            continue
        block_list = read_list(each.name, path, tell, opens)
        if block_list.broken and not len(block_list):
            raise LocalError(f"filter: the list {each.name}: {path} has no rule: all its lines are broken")
        uses.append(_use(section, each, block_list))
    return Judge(tuple(uses), section.only_allowed, section.doors)


def read_list(name: str, path: Path, tell: Tell, opens: OpenFile = open_file) -> BlockList:
    """A list's file. Broken lines are counted and told; the others work. Raises LocalError."""
    try:
        text = rule_data.read(path, opens).decode("utf-8-sig", errors="replace")
    except LocalError as error:
        raise LocalError(f"filter: the list {name}: {error}") from None
    made = BlockList(name, text.splitlines())
    if made.broken:
        first = made.complaints[0]
        more = f" (and {made.broken - 1} more lines)" if made.broken > 1 else ""
        tell(f"filter: {path}:{first.line}: {first.why}: {first.text!r}{more}; the other lines are used")
    return made


def list_path(section: ListSection, base: Path) -> Path | None:
    """Where a list is; None when it is to be fetched and was not yet."""
    if section.file is not None:
        return base / Path(section.file).expanduser()
    assert section.url is not None
    return rule_data.find(_fetched(section.url))


def line_of(path: Path, number: int) -> str:
    """The text of a list's line, for people; "" when it is not there any more."""
    try:
        lines = rule_data.read(path).decode("utf-8-sig", errors="replace").splitlines()
    except LocalError:
        return ""
    return lines[number - 1].strip() if 0 < number <= len(lines) else ""


def sources(sections: Sequence[ListSection]) -> list[Source]:
    """The lists that are fetched."""
    return [
        Source(f"list {each.name}", each.url, _fetched(each.url), _count) for each in sections if each.url is not None
    ]


def system_zone(file: Path = Path("/etc/localtime")) -> tzinfo:
    """The system's time zone; UTC where none is set (localtime(5))."""
    try:
        with file.open("rb") as opened:
            return ZoneInfo.from_file(opened, key=str(file.resolve()).partition("zoneinfo/")[2] or None)
    except (ValueError, OSError):
        return UTC


def _use(section: FilterSection, each: ListSection, block_list: BlockList) -> ListUse:
    hardware = {text: address for text in each.clients if (address := hardware_address(text)) is not None}
    networks = [text for text in each.clients if text not in hardware]
    schedule = section.schedules[each.schedule] if each.schedule is not None else None
    return ListUse(
        block_list,
        each.category,
        each.action == "allow",
        _schedule(schedule) if schedule is not None else None,
        frozenset(each.apps),
        frozenset(each.uids),
        CIDRSet(networks) if networks else None,
        frozenset(hardware.values()),
    )


def _schedule(section: ScheduleSection) -> Schedule:
    start, end = section.times()
    zone = ZoneInfo(section.time_zone) if section.time_zone else system_zone()
    return Schedule(section.days(), start, end, zone)


def _fetched(url: str) -> Path:
    return Path("filter-lists", hashlib.sha256(url.encode()).hexdigest()[:24] + ".txt")


def _count(data: bytes) -> int:
    if b"\0" in data:
        raise BadPacket("it is no text")
    made = BlockList("fetched", data.decode("utf-8-sig", errors="replace").splitlines())
    if not len(made) or made.broken > len(made):
        raise BadPacket(f"it has {len(made)} rules and {made.broken} lines that are none")
    return len(made)


def moment(text: str | None) -> datetime:
    """`--at`: a moment in ISO 8601, in the system's zone unless it says its own; now for None. Raises LocalError."""
    if text is None:
        return datetime.now(system_zone())
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise LocalError(f"--at {text!r}: expected a moment like 2026-03-02T15:30") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=system_zone())
