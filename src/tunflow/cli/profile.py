"""`tunflow profile`: list, add, show, remove and import saved profiles."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunflow.cli.flows import SERVER_VARIABLE
from tunflow.cli.saying import say
from tunflow.cli.system_names import parse_dns
from tunflow.errors import LocalError
from tunflow.profiles import file as profile_file
from tunflow.profiles.imports import summary as import_summary
from tunflow.profiles.imports.importer import import_profile, read_source
from tunflow.profiles.imports.subscription import name_of
from tunflow.profiles.imports.told import Told
from tunflow.profiles.profile import Profile, is_profile_name
from tunflow.profiles.redaction import redacted, redacted_link
from tunflow.profiles.store import ProfileStore
from tunflow.protocols.registry import parse_server
from tunflow.tunnel.check import check

MOST_TOLD = 20
"""Entries that were skipped, by the line."""


def profile(options: argparse.Namespace) -> int:
    """Do it; the exit status. Raises LocalError or RemoteError."""
    actions: dict[str, Callable[[argparse.Namespace, ProfileStore], None]] = {
        "list": _list, "add": _add, "show": _show, "remove": _remove, "import": _import,
    }  # fmt: skip
    actions[options.action](options, ProfileStore(warn=say))
    return 0


def _list(options: argparse.Namespace, store: ProfileStore) -> None:
    found = [_summary(store, name) for name in store.names()]
    if options.json:
        _print_json(found)
        return
    width = max((len(each["name"]) for each in found), default=0)
    for each in found:
        marks = " (on demand)" if each.get("on_demand") else ""
        _print(f"{each['name']:<{width}}  {each.get('error') or _described(each)}{marks}")


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
    }


def _labels(found: Profile) -> list[str]:
    links = [*found.server]
    for section in found.servers.values():
        links += [section.url] if section.url else section.chain
    return [redacted_link(link) for link in links]


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
    if options.source.lower().startswith("http://"):
        say("http:// is not encrypted: whoever is on the way can read these servers' passwords, or give you others")
    imported = import_profile(read_source(options.source), options.profile)
    if not imported.is_usable:
        _tell(imported.told, "")
        raise LocalError(f"{options.source} has no server that can be used: nothing is saved")
    if imported.is_whole and imported.lost and not options.partial:
        _tell(imported.told, "")
        raise LocalError(
            f"{len(imported.lost)} entries of {options.source} are not understood; --partial imports the rest"
        )
    _saved(options, store, imported.profile, imported.told)


def _tell(told: list[Told], before: str = "") -> None:
    for each in told[:MOST_TOLD]:
        say(f"{before}{each.place}: {each.reason}")
    if len(told) > MOST_TOLD:
        say(f"{before}{len(told) - MOST_TOLD} more")


def _saved(options: argparse.Namespace, store: ProfileStore, made: Profile, told: list[Told]) -> None:
    notes: list[str] = []
    missing = check(made, parse_dns, notes.append)
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


def _print_codes(found: Profile, as_json: bool) -> None:
    import segno  # noqa: PLC0415

    sections = {name: section.url for name, section in found.servers.items() if section.url}
    named = {
        **{
            found.name if len(found.server) == 1 else f"hop {number}": link
            for number, link in enumerate(found.server, 1)
        },
        **sections,
    }
    links = {name: link for name, link in named.items() if parse_server(link).first_hop is not None}
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
    if options.json:
        _print_json({"name": options.profile, "file": str(path)})
    else:
        _print(f"removed {path}")


def _print(line: str) -> None:
    print(line)  # noqa: T201


def _print_json(value: object) -> None:
    _print(json.dumps(value, indent=2, ensure_ascii=False, default=str))
