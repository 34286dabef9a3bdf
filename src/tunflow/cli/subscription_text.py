"""`tunflow profile update`, and what is said of subscriptions."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from typing import Any

from tunflow.cli.progress import bar
from tunflow.cli.stderr import say
from tunflow.errors import LocalError, RemoteError
from tunflow.profiles.profile import Profile
from tunflow.profiles.store import ProfileStore
from tunflow.tunnel.check import check
from tunflow.tunnel.subscriptions import facts_of, remember, update

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
        print(json.dumps(rows, indent=2, ensure_ascii=False))  # noqa: T201
    else:
        for row in rows:
            print(f"{row['name']}: {row.get('error') or _told(row)}")  # noqa: T201
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


def quota_of(profile: Profile) -> dict[str, Any] | None:
    """What is known of a profile's subscription: bytes used and in all, when it ends, when it was fetched."""
    if profile.subscription is None:
        return None
    facts = facts_of(profile.name)
    info = facts.user_info
    expires = datetime.fromtimestamp(info.expires, UTC).isoformat() if info.expires is not None else None
    return {"used": info.used, "total": info.total, "expires": expires, "fetched": facts.fetched}


def told_quota(facts: dict[str, Any] | None) -> str:
    """The same in a few words; "" for nothing."""
    if facts is None:
        return ""
    words = []
    used, total = facts["used"], facts["total"]
    if total is not None:
        words.append(f"{_size(used or 0)} of {_size(total)} used")
    elif used is not None:
        words.append(f"{_size(used)} used")
    if facts["expires"] is not None:
        ends = datetime.fromisoformat(facts["expires"])
        words.append(f"{'expired' if ends < datetime.now(UTC) else 'expires'} {ends:%Y-%m-%d}")
    return f"[{', '.join(words)}]" if words else ""


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def redacted_source(given: str) -> str:
    """A source as messages may name it: an address is often a key."""
    scheme, separator, rest = given.partition("://")
    if not separator:
        return given
    host = rest.partition("/")[0].rpartition("@")[2].partition("?")[0]
    return host if scheme.lower() in {"http", "https", "ssconf"} else "the link"
