"""`tunflow profile update`: subscriptions are fetched again."""

from __future__ import annotations

import argparse
from typing import Any

from tunflow.cli.profile_output import print_json, print_line
from tunflow.cli.progress import bar
from tunflow.cli.stderr import say
from tunflow.cli.subscription_text import quota_of
from tunflow.errors import LocalError, RemoteError
from tunflow.profiles.profile import Profile
from tunflow.profiles.store import ProfileStore
from tunflow.tunnel.check import check
from tunflow.tunnel.subscriptions import remember, update

SHOWN = 5
"""Names of servers in a line."""


def update_profiles(options: argparse.Namespace, store: ProfileStore) -> int:
    """Fetch subscriptions again; 1 if one of them stays as it was because that failed. Raises LocalError."""
    named = [store.load(name) for name in options.profiles]
    found = named or [each for each in map(_loaded(store), store.names()) if each is not None and each.subscription]
    if not found:
        raise LocalError("no profile is a subscription: tunflow profile import https://… makes one")
    rows = []
    with bar(quiet=False) as show:
        for number, each in enumerate(found):
            show(each.name, number / len(found))
            rows.append(_updated(each, store, force=options.force))
    if options.json:
        print_json(rows)
    else:
        for row in rows:
            print_line(f"{row['name']}: {row.get('error') or _told(row)}")
    return 1 if any("error" in row for row in rows) else 0


def _loaded(store: ProfileStore) -> Any:
    def load(name: str) -> Profile | None:
        try:
            return store.load(name)
        except LocalError:
            return None  # profile list tells what is wrong with it

    return load


def _updated(profile: Profile, store: ProfileStore, *, force: bool) -> dict[str, Any]:
    """What became of one profile."""
    name = profile.name
    try:
        change, answer = update(profile, force=force)
        if change.is_new:
            missing = check(change.profile, say)
            for line in missing:
                say(f"{name}: before it can come up: {line}")
            store.save(change.profile)
        remember(name, answer)
    except (LocalError, RemoteError) as error:
        return {"name": name, "state": "failed", "error": str(error)}
    for each in change.told.lost if change.told is not None else ():
        say(f"{name}: skipped {each.place}: {each.reason}")
    count = len(change.profile.servers) or len(change.profile.server)
    state = "updated" if change.is_new else "unchanged"
    return {
        "name": name, "state": state, "servers": count, "gained": change.gained, "lost": change.lost,
        "subscription": quota_of(profile),
    }  # fmt: skip


def _told(row: dict[str, Any]) -> str:
    if row["state"] == "unchanged":
        return "as it was"
    parts = [f"{row['servers']} servers"]
    for key, sign in (("gained", "new: "), ("lost", "gone: ")):
        if names := row[key]:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            parts.append(f"{sign}{', '.join(names[:SHOWN])}{more}")
    return "; ".join(parts)
