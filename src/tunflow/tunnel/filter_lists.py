"""A filter's lists on disk, read into a `Judge`; and where `tunflow filter update` fetches them from.

Fetched lists live in the data directory as rule sets do (`rule_data`), under `filter-lists`, and are replaced by the
same rules (`rule_update`): parsed first, the last good one kept, no list taken that shrank by more than half.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from tunflow.errors import BadPacket, LocalError
from tunflow.filter.block_list import BlockList
from tunflow.filter.devices import Devices, KnownDevice
from tunflow.filter.judge import Judge, ListUse
from tunflow.filter.schedule import Schedule
from tunflow.host.rights.open_file import OpenFile, open_file
from tunflow.paths import parse_path
from tunflow.profiles.sections.filter import (
    DeviceSection,
    FilterSection,
    ListSection,
    ScheduleSection,
    hardware_address,
)
from tunflow.rules.cidr import CIDRSet
from tunflow.tunnel import rule_data
from tunflow.tunnel.known_names import public_resolvers
from tunflow.tunnel.rule_update import ListSource

Tell = Callable[[str], None]


def make_judge(section: FilterSection, base: Path, tell: Tell, opens: OpenFile = open_file) -> Judge:
    """The judge of a profile's filter; `base` is where relative paths begin. Raises LocalError.

    A list that was never fetched is one that cannot be judged by: with `on_failure` open it is told of and left out.
    """
    uses = []
    for each in section.lists:
        text = list_text(each, base, opens)
        if text is None:
            missing = f"filter: the list {each.name} was never fetched: run `tunflow filter update`"
            if section.on_failure == "closed":
                raise LocalError(missing)
            tell(f"{missing}; until then it is left out (on_failure is open)")
            continue
        block_list = read_list(each.name, text, tell)
        if block_list.broken and not len(block_list):
            raise LocalError(f"filter: the list {each.name}: {text.place} has no rule: all its lines are broken")
        uses.append(_use(section, each, block_list))
    return Judge(tuple(uses), section.only_allowed, section.doors, public_resolvers(), known_devices(section))


def known_devices(section: FilterSection) -> Devices:
    """The devices that a profile has names for."""
    return Devices(tuple(_named(name, each) for name, each in section.devices.items()))


class ListText(NamedTuple):
    """A list's lines, and where they are."""

    place: str
    lines: tuple[str, ...]

    def line(self, number: int) -> str:
        """The text of a line (from 1), for people; "" where there is none."""
        return self.lines[number - 1].strip() if 0 < number <= len(self.lines) else ""


def read_list(name: str, text: ListText, tell: Tell) -> BlockList:
    """A list. Broken lines are counted and told; the others work."""
    made = BlockList(name, text.lines)
    if made.broken:
        first = made.complaints[0]
        more = f" (and {made.broken - 1} more lines)" if made.broken > 1 else ""
        tell(f"filter: {text.place}:{first.line}: {first.why}: {first.text!r}{more}; the other lines are used")
    return made


def file_text(name: str, path: Path, opens: OpenFile = open_file) -> ListText:
    """The lines of a list's file. Raises LocalError."""
    try:
        content = rule_data.read(path, opens).decode("utf-8-sig", errors="replace")
    except LocalError as error:
        raise LocalError(f"filter: the list {name}: {error}") from None
    return ListText(str(path), tuple(content.splitlines()))


def list_text(section: ListSection, base: Path, opens: OpenFile = open_file) -> ListText | None:
    """A list's lines; None when it is to be fetched and was not yet. Raises LocalError."""
    if section.lines:
        return ListText("the profile", section.lines)
    if section.file is not None:
        return file_text(section.name, base / parse_path(section.file), opens)
    assert section.url is not None
    path = rule_data.find(_fetched(section.url))
    return None if path is None else file_text(section.name, path, opens)


def sources(sections: Sequence[ListSection]) -> list[ListSource]:
    """The lists that are fetched."""
    return [
        ListSource(f"list {each.name}", each.url, _fetched(each.url), _count, each.key)
        for each in sections
        if each.url is not None
    ]


def system_zone(file: Path = Path("/etc/localtime")) -> tzinfo:
    """The system's time zone; UTC where none is set (localtime(5))."""
    try:
        with file.open("rb") as opened:
            return ZoneInfo.from_file(opened, key=str(file.resolve()).partition("zoneinfo/")[2] or None)
    except (ValueError, OSError):
        return UTC


def _named(name: str, section: DeviceSection) -> KnownDevice:
    networks, hardware = _devices(section.clients)
    return KnownDevice(name, frozenset(section.tags), networks, hardware)


def _devices(texts: Sequence[str]) -> tuple[CIDRSet | None, frozenset[bytes]]:
    """Addresses and hardware addresses of clients."""
    hardware = {text: address for text in texts if (address := hardware_address(text)) is not None}
    networks = [text for text in texts if text not in hardware]
    return CIDRSet(networks) if networks else None, frozenset(hardware.values())


def _use(section: FilterSection, each: ListSection, block_list: BlockList) -> ListUse:
    networks, hardware = _devices(each.clients)
    schedule = section.schedules[each.schedule] if each.schedule is not None else None
    return ListUse(
        block_list,
        each.category,
        each.action == "allow",
        _schedule(schedule) if schedule is not None else None,
        frozenset(each.apps),
        frozenset(each.uids),
        networks,
        hardware,
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
