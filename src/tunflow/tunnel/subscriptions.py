"""Fetches saved profiles' servers again, and keeps the last good ones.

Rules:
- What was fetched is imported and compiled as `tunflow profile import` does before it takes the profile's place. A list
  without a usable server, one that lost parts without `partial`, and one with less than half of the servers there were
  (unless forced) is not taken: the profile stays as it is.
- The import's sections replace those of the profile that say where flows go (servers, groups, rules and their lists);
  of the others only those that it has itself. So what was written by hand beside them stays.
- Beside the profile, in the data directory, stands what is known of the fetch: its ETag, when it was, and how much of
  the subscription is used.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from tunflow.errors import LocalError, RemoteError
from tunflow.profiles import file as profile_file
from tunflow.profiles.atomic_file import write_atomically
from tunflow.profiles.imports.fetch import ServerReply, fetch_changed
from tunflow.profiles.imports.importer import Imported, ImportSource, import_profile
from tunflow.profiles.imports.signed import check_signature
from tunflow.profiles.imports.user_info import UserInfo, parse_user_info_untrusted
from tunflow.profiles.profile import Profile
from tunflow.profiles.sections.subscription import SubscriptionSection
from tunflow.profiles.server_link import ServerLink
from tunflow.single_values import json_value
from tunflow.tunnel import rule_data

SHRINKS_TO = 0.5
"""The part of the servers that a new list must have."""
_REPLACED = (
    "server", "servers", "groups", "server_lists", "rules", "rule_sets", "provider", "provider_configuration",
    "geoip", "geosite", "asn",
)  # fmt: skip

Fetch = Callable[[str, str | None, str | None], ServerReply]
"""An address, the ETag of what is there, and the user agent. Raises RemoteError."""


class SubscriptionFacts(NamedTuple):
    """What is known of a subscription's last fetch."""

    etag: str | None = None
    fetched: str | None = None
    """ISO 8601, UTC."""
    user_info: UserInfo = UserInfo()
    header: str | None = None
    """What `user_info` was read from."""


class Change(NamedTuple):
    """What an update brought."""

    profile: Profile
    is_new: bool
    """False where the servers are those that there were."""
    gained: list[str]
    lost: list[str]
    told: Imported | None


def facts_of(name: str) -> SubscriptionFacts:
    """What is known of a profile's subscription; nothing where there is no record, or a broken one."""
    path = rule_data.find(_path(name))
    data: Any = None
    with suppress(OSError, ValueError):
        data = json_value(path.read_bytes()) if path is not None else None
    if not isinstance(data, dict):
        return SubscriptionFacts()
    etag, fetched, header = data.get("etag"), data.get("fetched"), data.get("user_info")
    return SubscriptionFacts(
        etag if isinstance(etag, str) else None,
        fetched if isinstance(fetched, str) else None,
        parse_user_info_untrusted(header) if isinstance(header, str) else UserInfo(),
        header if isinstance(header, str) else None,
    )


def remember(name: str, answer: ServerReply) -> None:
    """Write down what is known of a fetch. Raises LocalError."""
    before = facts_of(name)
    data = {
        "etag": answer.etag if answer.etag is not None else before.etag if answer.content is None else None,
        "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
        # Who says that nothing changed need not say again what there was (RFC 9110 §15.4.5).
        "user_info": before.header if answer.content is None and answer.user_info is None else answer.user_info,
    }
    write_atomically(
        rule_data.directories()[0] / _path(name), json.dumps(data, indent=2).encode() + b"\n", private=True
    )


def forget(name: str) -> None:
    """Remove what is known of a profile's subscription, if it is this user's to remove."""
    with suppress(OSError):
        (rule_data.directories()[0] / _path(name)).unlink()


def with_subscription(profile: Profile, section: SubscriptionSection) -> Profile:
    """The profile that knows where it came from."""
    data = profile_file.as_data(profile)
    return Profile.parse({**data, "subscription": section.model_dump(exclude_none=True)}, profile.file or profile.name)


def update(profile: Profile, *, force: bool = False, fetch: Fetch | None = None) -> tuple[Change, ServerReply]:
    """Fetch a profile's servers again. Raises LocalError or RemoteError that say why they stay as they are."""
    section = profile.subscription
    if section is None:
        raise LocalError(f"{profile.name} is no subscription: tunflow profile import https://… makes one")
    get = fetch or (lambda url, etag, agent: fetch_changed(url, etag, user_agent=agent))
    answer = get(section.url, facts_of(profile.name).etag, section.user_agent)
    if answer.content is None:
        return Change(profile, False, [], [], None), answer
    host = section.url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    if section.key is not None:
        check_signature(answer.content, section.url, section.key, lambda url: get(url, None, section.user_agent))
    source = ImportSource(answer.content, host, profile.name, None, section.url, answer, section.key is not None)
    imported = import_profile(source, profile.name)
    if not imported.is_usable:
        raise RemoteError(f"what {host} sent has no server that can be used: the old ones stay")
    if imported.is_whole and imported.lost and not section.partial:
        first = imported.lost[0]
        raise RemoteError(
            f"{first.place}: {first.reason}: the old servers stay (subscription.partial = true takes the rest)"
        )
    before, after = _servers(profile), _servers(imported.profile)
    if len(after) < len(before) * SHRINKS_TO and not force:
        raise RemoteError(f"{host} sent {len(after)} servers, and there are {len(before)}: not taken without --force")
    made = with_subscription(imported.profile, section) if imported.is_own else merged(profile, imported.profile)
    gained = [name for name in after if name not in before]
    lost = [name for name in before if name not in after]
    is_new = profile_file.as_data(made) != profile_file.as_data(profile)
    return Change(made, is_new, gained, lost, imported), answer


def merged(before: Profile, after: Profile) -> Profile:
    """The profile with an import's servers, groups and rules, and what else stood in it. Raises LocalError."""
    old = {key: value for key, value in profile_file.as_data(before).items() if key not in _REPLACED}
    new = {key: value for key, value in profile_file.as_data(after).items() if key != "name"}
    return Profile.parse({**old, **new}, before.file or before.name)


def _servers(profile: Profile) -> dict[str, tuple[ServerLink, ...]]:
    found = {name: section.links for name, section in profile.servers.items()}
    return found or {"server": profile.server}


def _path(name: str) -> Path:
    return Path("subscriptions", f"{name}.json")
