"""`tunflow filter`: tests, lists, updates, the log and the status of the content filter."""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from tunflow.addresses import ip_address
from tunflow.cli.device_names import DeviceNames
from tunflow.cli.filter_profile import profile_in_use
from tunflow.cli.filter_report import (
    MOST_SHOWN,
    event_line,
    last_blocked,
    most_blocked,
    printable,
    status_lines,
    sum_of_counts,
    who_was_blocked,
)
from tunflow.cli.progress import bar
from tunflow.cli.stderr import say
from tunflow.errors import LocalError
from tunflow.filter.conditions import CODES, TYPES, type_number
from tunflow.filter.judge import PASSES, Door, Judge, ListUse, Ruling, Subject, host_text
from tunflow.filter.query_answers import QueryRuling, query_ruling
from tunflow.flow import TCP, ProcessInfo
from tunflow.host.netlink.neighbours import Neighbours
from tunflow.paths import parse_path
from tunflow.profiles.profile import Profile
from tunflow.profiles.sections.filter import FilterSection, hardware_address
from tunflow.profiles.store import load_profile
from tunflow.single_values import json_value
from tunflow.sniff.http import HTTPRequest
from tunflow.sniff.url_form import target_text
from tunflow.tunnel import filter_lists, rule_data
from tunflow.tunnel.filter_lists import ListText
from tunflow.tunnel.filtering import log_path
from tunflow.tunnel.known_names import strict_modes
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
    judge, texts, searches_safely = _judge(options)
    subjects = _subjects(options)
    moment = filter_lists.moment(options.at)
    ruling = _ruling(judge, subjects, moment)
    asked = _record_type(options.type)
    answer = query_ruling(judge, subjects[0], asked, moment)
    text = texts[ruling.list].line(ruling.line) if ruling.list and ruling.line else ""
    instead = strict_modes().strict_host(subjects[0].host or "") if searches_safely and not ruling.blocked else None
    if options.json:
        facts = {"url": options.url, **ruling._asdict(), "rule": text or None, "answered_as": instead, "query": None}
        if answer is not None:
            said = {"type": options.type.upper(), "answer": _answer_text(answer, asked)}
            facts["query"] = said | {"list": answer.ruling.list, "line": answer.ruling.line}
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        print(f"{'blocked' if ruling.blocked else 'passes '}  {options.url}")
        for line in _reasons(ruling, texts, text):
            print(line)
        if answer is not None:
            place = f"{texts[answer.ruling.list].place}:{answer.ruling.line}" if answer.ruling.list else ""
            print(f"answer   {_answer_text(answer, asked)} (to queries for {options.type.upper()}, {place})")
        elif instead is not None:
            print(f"answer   the addresses of {instead} (safe_search)")
    return 0


def _record_type(name: str) -> int:
    try:
        return type_number(name)
    except ValueError as error:
        raise LocalError(f"--type {error}: expected one like A, AAAA or HTTPS") from None


def _answer_text(answer: QueryRuling, kind: int) -> str:
    """What a query for records of a type is answered with, in words."""
    if answer.alias:
        return f"the addresses of {answer.alias}"
    if answer.code:
        return next(name for name, code in CODES.items() if code == answer.code)
    found = [data for each, data in answer.records if each == kind]
    if kind in {TYPES["A"], TYPES["AAAA"]}:
        return ", ".join(str(ip_address(data)) for data in found) or "no such record"
    return ", ".join(data.hex() for data in found) or "no such record"


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


def _reasons(ruling: Ruling, texts: dict[str, ListText], text: str) -> Iterator[str]:
    if ruling.list is None:
        yield f"why      {ruling.why}"
        return
    yield f"list     {ruling.list}" + (f" ({ruling.category})" if ruling.category else "")
    yield f"line     {texts[ruling.list].place}:{ruling.line}"
    yield f"rule     {text if text.isprintable() else ascii(text)}"


def _judge(options: argparse.Namespace) -> tuple[Judge, dict[str, ListText], bool]:
    """What to judge by, each list, and whether search engines are held to their strict modes.

    Raises LocalError.
    """
    texts: dict[str, ListText] = {}
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
        texts = {each.name: text for each in section.lists if (text := filter_lists.list_text(each, base)) is not None}
    more = []
    for file in options.list:
        texts[file] = filter_lists.file_text(file, parse_path(file))
        more.append(ListUse(filter_lists.read_list(file, texts[file], say)))
    return replace(judge, lists=(*judge.lists, *more)), texts, searches_safely


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
        urls = HTTPRequest("GET", (host,), target_text(path.encode())).urls_of(host, port or _PORTS["http"])
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
        text = filter_lists.list_text(each, base)
        row: dict[str, Any] = {"name": each.name, "category": each.category, "action": each.action, "file": None}
        if text is not None:
            made = filter_lists.read_list(each.name, text, lambda _: None)
            row |= {"file": text.place, "rules": len(made), "not_kept": made.unsupported, "broken": made.broken}
            row["readings"] = made.readings
            row["not_kept_by_reason"] = dict(made.not_kept.most_common())
            row["complaints"] = [f"{text.place}:{each.line}: {each.why}: {each.text!r}" for each in made.complaints]
        rows.append(row)
    if options.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return 0
    for row in rows:
        if row["file"] is None:
            print(f"{row['name']}: never fetched: run `tunflow filter update {profile.file}`")
            continue
        rules = "1 rule" if row["rules"] == 1 else f"{row['rules']:,} rules"
        told = f"{rules}, {row['not_kept']:,} not kept here, {row['broken']:,} broken"
        print(f"{row['name']}: {told}, {row['file']}")
        for reading in row["readings"]:
            print(f"    {reading}")
        for reason, count in row["not_kept_by_reason"].items():
            print(f"    {count:>9,} not kept: {reason}")
        for line in row["complaints"]:
            print(f"    {line}")
    return 0


def _status(options: argparse.Namespace) -> int:
    profile, section = _filter_of(options.profile)
    path = log_path(section, Path(profile.file).parent)
    if not options.json:
        today = datetime.now(filter_lists.system_zone()).date()
        for word, said in status_lines(section, profile.file, str(path), _events(path, section), today):
            print(f"{word:9}{said}")
        return 0
    events = list(_events(path, section))
    found = {
        "enabled": section.enabled,
        "provider": section.provider or "built in",
        "on_failure": section.on_failure,
        "only_allowed": section.only_allowed,
        "closed": list(section.close),
        "forged": section.forged,
        "dns_answer": section.dns_answer,
        "safe_search": section.safe_search,
        "lists": [each.name for each in section.lists],
        "privacy": section.privacy,
        "log": str(path),
        "counts": dict(sum_of_counts(events)),
        "most_blocked": [each._asdict() for each in most_blocked(events)[:MOST_SHOWN]],
        "blocked_for": dict(who_was_blocked(events).most_common(MOST_SHOWN)),
        "last_blocked": last_blocked(events),
    }
    print(json.dumps(found, indent=2, ensure_ascii=False))
    return 0


def _update(options: argparse.Namespace) -> int:
    _, section = _filter_of(options.profile)
    sources, place = filter_lists.sources(section.lists), rule_data.directories()[0]
    with bar(quiet=False) as show:
        outcomes = update(sources, place, force=options.force, show=show)
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
    names = DeviceNames(None)
    with suppress(LocalError) if options.profile is None else nullcontext():
        profile, section = _filter_of(options.profile)
        path, names = log_path(section, Path(profile.file).parent), DeviceNames(section)
        if section.privacy == "none" and not path.exists():
            raise LocalError(f'{profile.file}: there is no log: filter.privacy is "none"')
    if options.top is not None:
        return _top(path, names, options)
    for line in log_lines(path, follow=options.follow):
        facts = names.named(_facts(line))
        if options.blocked and facts.get("event") != "blocked":
            continue
        sys.stdout.write(line if options.json else f"{event_line(facts)}\n")
        sys.stdout.flush()
    return 0


def _top(path: Path, names: DeviceNames, options: argparse.Namespace) -> int:
    """The hosts that were blocked most, and for whom, as far as the log tells."""
    if options.top < 1:
        raise LocalError(f"--top {options.top}: expected a number from 1 on")
    if options.follow:
        raise LocalError("filter log: --top and --follow cannot be given together")
    events = [names.named(_facts(line)) for line in log_lines(path, follow=False)]
    hosts, whom = most_blocked(events)[: options.top], who_was_blocked(events).most_common(options.top)
    if options.json:
        found = {"hosts": [each._asdict() for each in hosts], "for": [{"who": who, "count": n} for who, n in whom]}
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    for each in hosts:
        print(printable(f"{each.times:>7,}  {each.host}  {each.why}"))
    if not hosts:
        print("nothing was blocked")
    if whom:
        print("for")
    for who, count in whom:
        print(f"{count:>7,}  {who}")
    return 0


def _facts(line: str) -> dict[str, Any]:
    """A line of a log; one that is broken says so."""
    with suppress(ValueError):
        found = json_value(line)
        if isinstance(found, dict):
            return found
    return {"event": "?", "host": line.strip(), "why": "not a line of a filter's log"}


def log_lines(path: Path, *, follow: bool) -> Iterator[str]:
    """A log's lines; with `follow` without end, also of a log that is begun anew in its place. Raises LocalError.

    Empty ones are left out: one stands where the file could be written again.
    """
    try:
        file = path.open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise LocalError(f"there is no log: {path}: {error.strerror}") from None
    begun = ""
    while True:
        for piece in file:
            begun += piece
            if begun.endswith("\n"):
                if begun != "\n":
                    yield begun
                begun = ""
        if not follow:
            file.close()
            if begun:
                yield f"{begun}\n"
            return
        time.sleep(LOOK_AGAIN)
        with suppress(FileNotFoundError):
            there, ours = path.stat(), os.fstat(file.fileno())
            if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
                following = path.open(encoding="utf-8", errors="replace")
                yield from (line for line in (begun + file.read()).splitlines(keepends=True) if line != "\n")
                file.close()
                file, begun = following, ""
            elif there.st_size < file.tell():
                file.seek(0)
                begun = ""


def _events(path: Path, section: FilterSection) -> Iterator[Mapping[str, Any]]:
    names = DeviceNames(section)
    with suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            with suppress(ValueError):
                facts = json_value(line)
                if isinstance(facts, dict):
                    yield names.named(facts)


def _filter_of(name: str | None) -> tuple[Profile, FilterSection]:
    profile = load_profile(profile_in_use() if name is None else name, say)
    if profile.filter is None:
        raise LocalError(f"{profile.file}: the profile has no [filter]")
    return profile, profile.filter
