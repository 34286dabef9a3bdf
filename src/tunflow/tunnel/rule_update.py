"""Fetches the lists that rules are about, and replaces what is there only with what is whole.

Rules:
- What was fetched is parsed first. A list that does not parse, and one that has shrunk by more than half (unless
  forced), is not taken: the last good one stays.
- A list is replaced in one step. Its record (URL, ETag, SHA-256, time) follows; a record that is not about the bytes
  that are there counts as none, so whatever is interrupted is fetched again.
- One list that fails does not keep the others from being fetched.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunflow.errors import BadPacket, LocalError, RemoteError
from tunflow.profiles.atomic_file import write_atomically
from tunflow.profiles.imports.fetch import ServerReply, fetch_changed
from tunflow.profiles.imports.signed import check_signature
from tunflow.profiles.profile import Profile
from tunflow.rules.cidr import CIDRSet
from tunflow.rules.conditions import DomainTest
from tunflow.rules.delegated import parse_delegated_untrusted
from tunflow.rules.domains import DomainSet
from tunflow.rules.registries import registry_of
from tunflow.rules.rule_set import parse_rule_set
from tunflow.rules.syntax import Context
from tunflow.single_values import json_value
from tunflow.tunnel import rule_data

REGISTRIES = {
    "apnic": "https://ftp.apnic.net/stats/apnic/delegated-apnic-latest",
    "ripencc": "https://ftp.ripe.net/ripe/stats/delegated-ripencc-latest",
    "arin": "https://ftp.arin.net/pub/stats/arin/delegated-arin-extended-latest",
    "lacnic": "https://ftp.lacnic.net/pub/stats/lacnic/delegated-lacnic-latest",
    "afrinic": "https://ftp.afrinic.net/pub/stats/afrinic/delegated-afrinic-latest",
}
"""Who gives addresses out, and where each tells to whom."""

PATIENCE = 180.0
"""Seconds for one list."""

SHRINKS_TO = 0.5
"""The part of the old list that a new one must have."""

Fetch = Callable[[str, str | None], ServerReply]


@dataclass(frozen=True, slots=True)
class ListSource:
    """A list: what it is called, where it is fetched from and kept, and what checks it."""

    name: str
    url: str
    path: Path
    """Below the data directory."""
    count: Callable[[bytes], int]
    """How much is in it. Raises LocalError or BadPacket for what is not such a list."""
    key: str | None = None
    """The minisign key that must have signed it; None for anybody."""
    is_private: bool = False
    """True if nobody but its owner may read it."""


@dataclass(frozen=True, slots=True)
class UpdateOutcome:
    """What became of a list."""

    name: str
    state: str
    """`updated`, `unchanged` or `failed`."""
    count: int | None = None
    before: int | None = None
    reason: str | None = None


def registry_source(name: str, url: str | None = None) -> ListSource:
    """A registry's file. Raises LocalError."""
    if name not in REGISTRIES:
        raise LocalError(f"--registry {name!r}: {', '.join(REGISTRIES)} and all are known")
    return ListSource(name, url or REGISTRIES[name], Path("delegated", f"{name}.txt"), _count_delegated)


def rule_set_sources(profile: Profile) -> list[ListSource]:
    """The profile's rule sets that are fetched."""
    return [
        ListSource(
            f"rule set {name}",
            section.url,
            rule_data.rule_set_path(section.url),
            lambda data, section=section: _count_rules(data, section.behavior),  # type: ignore[misc]
            section.key,
        )
        for name, section in profile.rule_sets.items()
        if section.url is not None
    ]


def geo_sources(profile: Profile) -> list[ListSource]:
    """The profile's files of countries, names and operators that are fetched."""
    given = {"geoip": profile.geoip, "geosite": profile.geosite, "asn": profile.asn}
    return [
        ListSource(name, url, rule_data.geo_path(url), _count_geo)
        for name, url in given.items()
        if url and "://" in url
    ]


def registries_of(profile: Profile) -> list[str]:
    """The registries whose files the profile's rules on countries need."""
    if profile.geoip:
        return []
    codes = {match[1].upper() for rule in profile.rules for match in _GEOIP.finditer(rule)} - {"LAN", "PRIVATE"}
    return sorted({registry_of(code) for code in codes})


_GEOIP = re.compile(r"(?:^|\()\s*GEOIP\s*,\s*(\w+)", re.IGNORECASE)


def update(
    sources: Sequence[ListSource],
    place: Path,
    *,
    force: bool = False,
    fetch: Fetch | None = None,
    show: Callable[[str, float], None] = lambda _what, _done: None,
) -> list[UpdateOutcome]:
    """Fetch every list into `place`. Raises LocalError when nothing can be written there.

    `show` is told which list is fetched, and how much of all is done (0 to 1).
    """
    fetch = fetch or (lambda url, etag: fetch_changed(url, etag, largest=rule_data.LARGEST, patience=PATIENCE))
    outcomes = []
    for number, source in enumerate(sources):
        show(source.name, number / len(sources))
        try:
            outcomes.append(_update(source, place, force, fetch))
        except (RemoteError, BadPacket) as error:
            outcomes.append(UpdateOutcome(source.name, "failed", reason=str(error)))
    return outcomes


def _update(source: ListSource, place: Path, force: bool, fetch: Fetch) -> UpdateOutcome:
    path = place / source.path
    there = rule_data.read(path) if path.is_file() else None
    record = _record(path, source.url, there)
    answer = fetch(source.url, record.get("etag"))
    before = _count_of(source, there)
    if answer.content is None or answer.content == there:
        return UpdateOutcome(source.name, "unchanged", before, before)
    if source.key is not None:
        check_signature(answer.content, source.url, source.key, lambda url: fetch(url, None))
    try:
        count = source.count(answer.content)
    except (LocalError, BadPacket) as error:
        raise RemoteError(f"what was fetched is not taken: {error}") from None
    if before is not None and count < before * SHRINKS_TO and not force:
        raise RemoteError(f"the new list has {count} entries, the old one {before}: not taken without --force")
    write_atomically(path, answer.content, private=source.is_private)
    facts = {
        "url": source.url,
        "etag": answer.etag,
        "sha256": hashlib.sha256(answer.content).hexdigest(),
        "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_atomically(_record_path(path), json.dumps(facts, indent=2).encode() + b"\n", private=source.is_private)
    return UpdateOutcome(source.name, "updated", count, before)


def _count_of(source: ListSource, content: bytes | None) -> int | None:
    """How much is in the old list; None if there is none, or it is broken."""
    if content is None:
        return None
    with suppress(LocalError, BadPacket):
        return source.count(content)
    return None


def _count_delegated(data: bytes) -> int:
    countries = parse_delegated_untrusted(data)
    return sum(1 for addresses in countries.values() for _ in addresses.spans())


def _count_rules(data: bytes, behavior: str) -> int:
    def nothing(_: str) -> CIDRSet:
        return CIDRSet()

    text = rule_data.list_text(data, "the fetched list", behavior)
    context = Context({}, nothing, lambda _: DomainTest(DomainSet()), nothing)
    made = parse_rule_set(text, behavior, "the fetched list", context)
    count = len(made.domains) + sum(1 for _ in made.addresses.spans()) + len(made.others)
    if not count:
        raise BadPacket("the fetched list is empty")
    return count


def _count_geo(data: bytes) -> int:
    """The bytes of a file of countries, names or operators."""
    if data[:1].strip() in {b"<", b"{"} or len(data) < 16:
        raise BadPacket("neither a MaxMind database nor a file of names or addresses (Protocol Buffers)")
    return len(data)


def fetched_at(source: ListSource, place: Path) -> datetime | None:
    """When the list that is there was fetched; None if there is none, or nobody knows."""
    path = place / source.path
    with suppress(OSError, ValueError, LocalError, TypeError):
        record = _record(path, source.url, rule_data.read(path))
        return datetime.fromisoformat(record.get("fetched", ""))
    return None


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _record(path: Path, url: str, content: bytes | None) -> dict[str, Any]:
    """What is recorded about a list; nothing if it is not about this URL and these bytes."""
    if content is None:
        return {}
    with suppress(OSError, ValueError):
        record = json_value(_record_path(path).read_bytes())
        digest = hashlib.sha256(content).hexdigest()
        if isinstance(record, dict) and record.get("url") == url and record.get("sha256") == digest:
            return record
    return {}
