"""`tunflow profile`: list, show, export and remove saved profiles; `profile_import` has what takes them in."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunflow.cli.profile_output import labels, print_json, print_line
from tunflow.cli.stderr import say
from tunflow.cli.subscription_text import quota_of, told_quota
from tunflow.cli.table import print_table
from tunflow.errors import LocalError
from tunflow.profiles import file as profile_file
from tunflow.profiles.profile import Profile
from tunflow.profiles.redaction import redacted, redacted_link
from tunflow.profiles.store import ProfileStore

Action = Callable[[argparse.Namespace, ProfileStore], int | None]


def profile(options: argparse.Namespace) -> int:
    """Do it; the exit status. Raises LocalError or RemoteError."""
    return _action(options.action)(options, ProfileStore(warn=say)) or 0


def _action(name: str) -> Action:
    """What does it. What takes servers from elsewhere needs much that the others do not wait for."""
    if name == "update":
        from tunflow.cli.subscription_update import update_profiles  # noqa: PLC0415

        return update_profiles
    if name in {"add", "import"}:
        from tunflow.cli.profile_import import add_links, import_source  # noqa: PLC0415

        return add_links if name == "add" else import_source
    return {"list": _list, "show": _show, "export": _export, "remove": _remove}[name]


def _list(options: argparse.Namespace, store: ProfileStore) -> None:
    found = [_summary(store, name) for name in store.names()]
    if options.json:
        print_json(found)
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
        "servers": labels(found),
        "provider": found.provider,
        "rules": len(found.rules),
        "on_demand": found.on_demand.enabled,
        "subscription": quota_of(found),
    }


def _described(summary: dict[str, Any]) -> str:
    if summary["provider"]:
        return f"provider {summary['provider']}"
    servers = summary["servers"]
    return ", ".join(servers) if len(servers) < 3 else f"{len(servers)} servers"


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
        print_json({"file": found.file, **data})
    elif options.secrets:
        print_line(Path(found.file).read_text(encoding="utf-8").rstrip("\n"))
    else:
        print_line(tomlkit.dumps(data).rstrip("\n"))


def _export(options: argparse.Namespace, store: ProfileStore) -> None:
    """What an iPhone or Mac can do of it by itself. Raises LocalError."""
    from tunflow.profiles.mobileconfig_export import mobileconfig  # noqa: PLC0415 - which few need

    is_file = "/" in options.profile or options.profile.endswith(".toml")
    found = profile_file.load(Path(options.profile)) if is_file else store.load(options.profile)
    content, lost = mobileconfig(found)
    for line in lost:
        say(f"left out {line}")
    if options.output is None:
        print_line(content.decode().rstrip("\n"))
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
        print_json(links)
        return
    for name, link in links.items():
        print_line(name if config else f"{name}  {redacted_link(link)}")
        segno.make(link, micro=False).terminal(compact=True)


def _remove(options: argparse.Namespace, store: ProfileStore) -> None:
    from tunflow.tunnel.subscriptions import forget  # noqa: PLC0415 - which imports the importers

    path = store.remove(options.profile)
    forget(options.profile)
    if options.json:
        print_json({"name": options.profile, "file": str(path)})
    else:
        print_line(f"removed {path}")
