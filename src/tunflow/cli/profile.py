"""`tunflow profile`: list, add, show, export, remove, import and update saved profiles."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunflow.cli.process import SERVER_VARIABLE
from tunflow.cli.stderr import say
from tunflow.cli.subscription_text import quota_of, redacted_source, told_quota, update_profiles
from tunflow.cli.table import print_table
from tunflow.errors import LocalError
from tunflow.profiles import file as profile_file
from tunflow.profiles.imports import summary as import_summary
from tunflow.profiles.imports.import_notice import ImportNotice
from tunflow.profiles.imports.importer import import_profile, read_source
from tunflow.profiles.imports.missing_programs import missing_programs
from tunflow.profiles.imports.subscription import name_of
from tunflow.profiles.minisign import MinisignKey
from tunflow.profiles.profile import Profile, is_profile_name
from tunflow.profiles.redaction import redacted, redacted_link
from tunflow.profiles.sections.subscription import SubscriptionSection
from tunflow.profiles.store import ProfileStore
from tunflow.tunnel.check import check
from tunflow.tunnel.subscriptions import forget, remember, with_subscription

MOST_TOLD = 100
"""Lines about a source."""


def profile(options: argparse.Namespace) -> int:
    """Do it; the exit status. Raises LocalError or RemoteError."""
    actions: dict[str, Callable[[argparse.Namespace, ProfileStore], int | None]] = {
        "list": _list, "add": _add, "show": _show, "export": _export, "remove": _remove, "import": _import,
        "update": update_profiles,
    }  # fmt: skip
    return actions[options.action](options, ProfileStore(warn=say)) or 0


def _list(options: argparse.Namespace, store: ProfileStore) -> None:
    found = [_summary(store, name) for name in store.names()]
    if options.json:
        _print_json(found)
        return
    if not found:
        say("no profile is saved: tunflow profile add NAME ss://…, or tunflow profile import FILE")
    rows = []
    for each in found:
        marks = " (on demand)" if each.get("on_demand") else ""
        marks += f"  {quota}" if (quota := told_quota(each.get("subscription"))) else ""
        rows.append((each["name"], f"{each.get('error') or _described(each)}{marks}"))
    print_table(rows)


def _summary(store: ProfileStore, name: str) -> dict[str, Any]:
    """One profile's line. A file that is wrong is listed too: it is there, and somebody looks for it."""
    summary: dict[str, Any] = {"name": name, "file": str(store.path(name))}
    try:
        found = store.load(name)
    except LocalError as error:
        return {**summary, "error": str(error)}
    return {
        **summary,
        "servers": _labels(found),
        "provider": found.provider,
        "rules": len(found.rules),
        "on_demand": found.on_demand.enabled,
        "subscription": quota_of(found),
    }


def _labels(found: Profile) -> list[str]:
    links = [*found.server]
    for section in found.servers.values():
        links += section.links
    return [link.server.label for link in links]


def _described(summary: dict[str, Any]) -> str:
    if summary["provider"]:
        return f"provider {summary['provider']}"
    servers = summary["servers"]
    return ", ".join(servers) if len(servers) < 3 else f"{len(servers)} servers"


def _add(options: argparse.Namespace, store: ProfileStore) -> None:
    given = [each for each in (options.profile, *options.links) if each is not None]
    name = given.pop(0) if given and "://" not in given[0] and given[0] != "-" else None
    if given == ["-"]:
        given = sys.stdin.read(profile_file.LARGEST).split()
    links = given or os.environ.get(SERVER_VARIABLE, "").split()
    if not links:
        raise LocalError("no server given: tunflow profile add NAME ss://METHOD:PASSWORD@HOST:PORT, or TUNFLOW_SERVER")
    name = name or name_of(links[-1])
    made = Profile.parse({"name": name, "server": links}, "the new profile")
    _saved(options, store, made, [])


def _import(options: argparse.Namespace, store: ProfileStore) -> None:
    if options.profile is not None and not is_profile_name(options.profile):
        raise LocalError(f"--name {options.profile!r} is no profile name: letters, digits and _ . + - are accepted")
    source = read_source(options.source, options.user_agent, key=_key(options.key))
    if options.source.lower().startswith("http://"):
        say("http:// is not encrypted: whoever is on the way can read these servers' passwords, or give you others")
    imported = import_profile(source, options.profile)
    imported.told.extend(missing_programs(imported.profile))
    if not imported.is_usable:
        _tell(imported.told, "")
        raise LocalError(f"{redacted_source(options.source)} has no server that can be used: nothing is saved")
    if imported.is_whole and imported.lost and not options.partial:
        _tell(imported.told, "")
        where = redacted_source(options.source)
        raise LocalError(f"{len(imported.lost)} entries of {where} are not understood; --partial imports the rest")
    made = imported.profile
    if source.address is not None and source.answer is not None:
        section = SubscriptionSection(
            url=source.address, user_agent=options.user_agent, partial=options.partial, key=options.key
        )
        made = with_subscription(made, section)
    _saved(options, store, made, imported.told)
    if source.answer is not None:
        remember(made.name, source.answer)


def _key(text: str | None) -> str | None:
    """What `--key` names. Raises LocalError."""
    if text is not None:
        try:
            MinisignKey.of(text)
        except ValueError as error:
            raise LocalError(f"--key {text!r}: {error}; it reads RW… in base64, as minisign -G prints it") from None
    return text


def _tell(told: list[ImportNotice], before: str = "") -> None:
    lines = import_summary.told_lines(told)
    for line in lines[:MOST_TOLD]:
        say(f"{before}{line}")
    if len(lines) > MOST_TOLD:
        say(f"{before}{len(lines) - MOST_TOLD} more")


def _saved(options: argparse.Namespace, store: ProfileStore, made: Profile, told: list[ImportNotice]) -> None:
    notes: list[str] = []
    missing = check(made, notes.append)
    path = store.save(made, replace=options.replace)
    if options.json:
        lost = [{"place": each.place, "reason": each.reason} for each in told if each.is_lost]
        harmless = [{"place": each.place, "reason": each.reason} for each in told if not each.is_lost]
        facts = {"name": made.name, "file": str(path), "servers": _labels(made), "ends": import_summary.ends(made)}
        _print_json({**facts, "skipped": lost, "told": harmless, "missing": missing})
        return
    for line in import_summary.lines(made) if made.groups or made.rules else ():
        say(line)
    _tell([each for each in told if each.is_lost], "skipped ")
    _tell([each for each in told if not each.is_lost])
    for line in (*notes, *(f"before it can come up: {each}" for each in missing)):
        say(line)
    count = len(_labels(made))
    what = f"provider {made.provider}" if made.provider else f"{count} server{'s' if count != 1 else ''}"
    _print(f"saved {made.name} with {what} in {path}")


def _show(options: argparse.Namespace, store: ProfileStore) -> None:
    import tomlkit  # noqa: PLC0415

    found = store.load(options.profile)
    if options.qr:
        _print_codes(found, options.json)
        return
    data = profile_file.as_data(found)
    if not options.secrets:
        data = redacted(data)
    if options.json:
        _print_json({"file": found.file, **data})
    elif options.secrets:
        _print(Path(found.file).read_text(encoding="utf-8").rstrip("\n"))
    else:
        _print(tomlkit.dumps(data).rstrip("\n"))


def _export(options: argparse.Namespace, store: ProfileStore) -> None:
    """What an iPhone or Mac can do of it by itself. Raises LocalError."""
    from tunflow.profiles.mobileconfig_export import mobileconfig  # noqa: PLC0415 - which few need

    is_file = "/" in options.profile or options.profile.endswith(".toml")
    found = profile_file.load(Path(options.profile)) if is_file else store.load(options.profile)
    content, lost = mobileconfig(found)
    for line in lost:
        say(f"left out {line}")
    if options.output is None:
        _print(content.decode().rstrip("\n"))
        return
    try:
        Path(options.output).write_bytes(content)
    except OSError as error:
        raise LocalError(f"cannot write {options.output}: {error.strerror}") from None


def _print_codes(found: Profile, as_json: bool) -> None:
    import segno  # noqa: PLC0415

    named = {
        found.name if len(found.server) == 1 else f"hop {number}": link for number, link in enumerate(found.server, 1)
    }
    named |= {name: section.url for name, section in found.servers.items() if section.url is not None}
    links = {name: link.text for name, link in named.items() if link.server.first_hop is not None}
    config = found.provider_configuration.get("config") if found.provider == "wireguard" else None
    if config:
        links[found.name] = str(config)  # what WireGuard's own programs for phones scan
    if not links:
        raise LocalError(f"{found.file}: holds no server to make a QR code of")
    if as_json:
        _print_json(links)
        return
    for name, link in links.items():
        _print(name if config else f"{name}  {redacted_link(link)}")
        segno.make(link, micro=False).terminal(compact=True)


def _remove(options: argparse.Namespace, store: ProfileStore) -> None:
    path = store.remove(options.profile)
    forget(options.profile)
    if options.json:
        _print_json({"name": options.profile, "file": str(path)})
    else:
        _print(f"removed {path}")


def _print(line: str) -> None:
    print(line)  # noqa: T201


def _print_json(value: object) -> None:
    _print(json.dumps(value, indent=2, ensure_ascii=False, default=str))
