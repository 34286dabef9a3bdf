"""`tunflow filter`: tests, lists, updates, the log and the status of the content filter."""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from tunflow.addresses import ip_address
from tunflow.cli.filter_profile import profile_in_use
from tunflow.cli.saying import say
from tunflow.errors import LocalError
from tunflow.filter.judge import PASSES, Door, Judge, ListUse, Ruling, Subject, host_text
from tunflow.filter.safe_search import safe_host
from tunflow.flow import TCP, ProcessInfo
from tunflow.host.netlink.neighbours import Neighbours
from tunflow.profiles.profile import Profile
from tunflow.profiles.sections.filter import FilterSection, hardware_address
from tunflow.profiles.store import load_profile
from tunflow.sniff.http import Request
from tunflow.sniff.url_form import target_text
from tunflow.tunnel import filter_lists, rule_data
from tunflow.tunnel.filtering import log_path
from tunflow.tunnel.rule_update import update
from tunflow.urls import URL, parse_url

LOOK_AGAIN = 0.25
"""Seconds between two looks at a log that is followed."""

_PORTS = {"http": 80, "https": 443}


def filter_command(options: argparse.Namespace) -> int:
    """Run the action; the exit status. Raises LocalError."""
    actions = {"test": _test, "lists": _lists, "status": _status, "update": _update, "log": _log}
    return actions[options.action](options)


def _test(options: argparse.Namespace) -> int:
    judge, paths, searches_safely = _judge(options)
    subjects = _subjects(options)
    ruling = _ruling(judge, subjects, filter_lists.moment(options.at))
    text = filter_lists.line_of(paths[ruling.list], ruling.line) if ruling.list and ruling.line else ""
    instead = safe_host(subjects[0].host or "") if searches_safely and not ruling.blocked else None
    if options.json:
        facts = {"url": options.url, **ruling._asdict(), "rule": text or None, "answered_as": instead}
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        print(f"{'blocked' if ruling.blocked else 'passes '}  {options.url}")
        for line in _reasons(ruling, paths, text):
            print(line)
        if instead is not None:
            print(f"answer   the addresses of {instead} (safe_search)")
    return 0


def _ruling(judge: Judge, subjects: Sequence[Subject], at: datetime) -> Ruling:
    """The first that blocks, of all that a request may be taken for; as the filter decides about HTTP and TLS."""
    ruling = PASSES
    for subject in subjects:
        ruling = judge.judge(subject, at)
        closed = judge.closes(Door.RAW_IP, "a bare address") if subject.address is not None else None
        if not ruling.blocked and closed is not None:
            return closed
        if ruling.blocked:
            break
    return ruling


def _reasons(ruling: Ruling, paths: dict[str, Path], text: str) -> Iterator[str]:
    if ruling.list is None:
        yield f"why      {ruling.why}"
        return
    yield f"list     {ruling.list}" + (f" ({ruling.category})" if ruling.category else "")
    yield f"line     {paths[ruling.list]}:{ruling.line}"
    yield f"rule     {text if text.isprintable() else ascii(text)}"


def _judge(options: argparse.Namespace) -> tuple[Judge, dict[str, Path], bool]:
    """What to judge by, where each list is, and whether search engines are held to their strict modes.

    Raises LocalError.
    """
    paths: dict[str, Path] = {}
    judge, searches_safely = Judge(), False
    if options.profile is not None or not options.list:
        profile, section = _filter_of(options.profile)
        if section.provider is not None:
            raise LocalError(f"{profile.file}: {section.provider} is the filter: what it would decide, only it knows")
        if not section.enabled:
            say(f"{profile.file}: the filter is off (enabled = false): this is what it would decide")
        searches_safely = section.safe_search
        base = Path(profile.file).parent
        judge = filter_lists.make_judge(section, base, say)
        paths = {each.name: path for each in section.lists if (path := filter_lists.list_path(each, base)) is not None}
    more = []
    for file in options.list:
        paths[file] = Path(file)
        more.append(ListUse(filter_lists.read_list(file, Path(file), say)))
    return Judge((*judge.lists, *more), judge.only_allowed, judge.doors), paths, searches_safely


def _subjects(options: argparse.Namespace) -> list[Subject]:
    """The flow that is asked about; several where a server may take its URL for another. Raises LocalError."""
    try:
        parts = _parts(options.url)
        host, port = host_text(parts.host), parts.port
    except ValueError as error:
        raise LocalError(f"filter test: {options.url!r} is neither a URL nor a host: {error}") from None
    path = parts.target
    has_path = bool(parts.path.strip("/") or parts.query)
    urls: tuple[str | None, ...] = (None,)
    if parts.scheme == "https" and has_path:
        say("https: only the host can be seen from outside, so the path counts for nothing")
    elif parts.scheme == "http" or has_path:
        urls = Request("GET", (host,), target_text(path.encode())).urls_of(host, port or _PORTS["http"])
    port = port or _PORTS["https" if urls == (None,) else "http"]
    process = None
    if options.uid is not None and options.uid < 0:
        raise LocalError(f"--uid {options.uid}: expected a number from 0 on")
    if options.process is not None or options.uid is not None:
        exe = options.process or ""
        process = ProcessInfo(
            executable=exe if "/" in exe else None, name=exe.rpartition("/")[2] or None, uid=options.uid
        )
    address = None
    with suppress(ValueError):
        address = ip_address(host).packed
    device = _device(options.client)
    return [Subject(host, port, TCP, url, address, process, *device) for url in urls]


def _parts(text: str) -> URL:
    """A URL, or what stands in one behind `//`. Raises ValueError."""
    with suppress(ValueError):
        ip_address(text)
        text = f"[{text}]" if ":" in text else text
    parts = parse_url(text if "://" in text or text.startswith("//") else f"//{text}")
    if parts.scheme not in {"", *_PORTS}:
        raise ValueError("only http:// and https:// have names that can be seen")
    if not parts.scheme and parts.user_information is not None:
        raise ValueError("a character that no name has")
    return parts


def _device(text: str | None) -> tuple[bytes | None, bytes | None]:
    """Packed address and hardware address of the device that `--client` names. Raises LocalError."""
    if text is None:
        return None, None
    hardware = hardware_address(text)
    if hardware is not None:
        return None, hardware
    try:
        address = ip_address(text).packed
    except ValueError:
        raise LocalError(f"--client {text!r} is neither an address nor a hardware address") from None
    with suppress(OSError):
        hardware = Neighbours([name for _, name in socket.if_nameindex()]).find(address)
    return address, hardware


def _lists(options: argparse.Namespace) -> int:
    profile, section = _filter_of(options.profile)
    base = Path(profile.file).parent
    rows: list[dict[str, Any]] = []
    for each in section.lists:
        path = filter_lists.list_path(each, base)
        row: dict[str, Any] = {"name": each.name, "category": each.category, "action": each.action, "file": None}
        if path is not None:
            made = filter_lists.read_list(each.name, path, lambda _: None)
            row |= {"file": str(path), "rules": len(made), "not_kept": made.unsupported, "broken": made.broken}
            row["not_kept_by_reason"] = dict(made.not_kept.most_common())
            row["complaints"] = [f"{path}:{each.line}: {each.why}: {each.text!r}" for each in made.complaints]
        rows.append(row)
    if options.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return 0
    for row in rows:
        if row["file"] is None:
            print(f"{row['name']}: never fetched: run `tunflow filter update {profile.file}`")
            continue
        told = f"{row['rules']:,} rules, {row['not_kept']:,} not kept here, {row['broken']:,} broken"
        print(f"{row['name']}: {told}, {row['file']}")
        for reason, count in row["not_kept_by_reason"].items():
            print(f"    {count:>9,} not kept: {reason}")
        for line in row["complaints"]:
            print(f"    {line}")
    return 0


def _status(options: argparse.Namespace) -> int:
    profile, section = _filter_of(options.profile)
    path = log_path(section, Path(profile.file).parent)
    counts: Counter[str] = Counter()
    for facts in _events(path):
        if facts.get("event") == "counts":
            counts.update({key: value for key, value in facts.items() if isinstance(value, int)})
    found = {
        "enabled": section.enabled,
        "provider": section.provider or "built in",
        "on_failure": section.on_failure,
        "only_allowed": section.only_allowed,
        "closed": list(section.close),
        "dns_answer": section.dns_answer,
        "safe_search": section.safe_search,
        "lists": [each.name for each in section.lists],
        "privacy": section.privacy,
        "log": str(path),
        "counts": dict(counts),
    }
    if options.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    for key, value in found.items():
        shown = ", ".join(f"{name} {count:,}" for name, count in counts.items()) if key == "counts" else value
        shown = ", ".join(shown) if isinstance(shown, list) else shown
        print(f"{key.replace('_', ' '):13}{shown if shown not in ('', None) else '-'}")
    return 0


def _update(options: argparse.Namespace) -> int:
    _, section = _filter_of(options.profile)
    outcomes = update(filter_lists.sources(section.lists), rule_data.directories()[0], force=options.force)
    if options.json:
        print(json.dumps([asdict(each) for each in outcomes], indent=2))
    else:
        for each in outcomes:
            told = (
                f"{each.count:,} rules" if each.count is not None else f"{each.reason}; what was there before is kept"
            )
            print(f"{each.name}: {each.state}, {told}")
        if not outcomes:
            print("no list of the profile has a url")
    return int(any(each.state == "failed" for each in outcomes))


def _log(options: argparse.Namespace) -> int:
    path = rule_data.directories()[0] / "filter.jsonl"  # of any profile that names no other
    with suppress(LocalError) if options.profile is None else nullcontext():
        profile, section = _filter_of(options.profile)
        path = log_path(section, Path(profile.file).parent)
        if section.privacy == "none" and not path.exists():
            raise LocalError(f'{profile.file}: there is no log: filter.privacy is "none"')
    for line in _log_lines(path, follow=options.follow):
        sys.stdout.write(line)
        sys.stdout.flush()
    return 0


def _log_lines(path: Path, *, follow: bool) -> Iterator[str]:
    """A log's lines; with `follow` without end, also of a log that is begun anew in its place. Raises LocalError."""
    try:
        file = path.open(encoding="utf-8")
    except OSError as error:
        raise LocalError(f"there is no log: {path}: {error.strerror}") from None
    while True:
        yield from file
        if not follow:
            file.close()
            return
        time.sleep(LOOK_AGAIN)
        with suppress(FileNotFoundError):
            there, ours = path.stat(), os.fstat(file.fileno())
            if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
                yield from file
                file.close()
                file = path.open(encoding="utf-8")
            elif there.st_size < file.tell():
                file.seek(0)


def _events(path: Path) -> Iterator[dict[str, Any]]:
    with suppress(OSError), path.open(encoding="utf-8") as file:
        for line in file:
            with suppress(ValueError):
                facts = json.loads(line)
                if isinstance(facts, dict):
                    yield facts


def _filter_of(name: str | None) -> tuple[Profile, FilterSection]:
    profile = load_profile(profile_in_use() if name is None else name, say)
    if profile.filter is None:
        raise LocalError(f"{profile.file}: the profile has no [filter]")
    return profile, profile.filter
