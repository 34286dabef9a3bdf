"""Where a profile's servers and rule sets come from, as Clash's providers. Reads files: not for the loop's thread."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunflow.errors import LocalError
from tunflow.profiles.profile import Profile
from tunflow.profiles.sections.rules import RuleSetSection, ServerListSection
from tunflow.tunnel import rule_data, subscriptions

_NEVER = "0001-01-01T00:00:00Z"
"""The moment that Clash writes where there was none."""
_BEHAVIORS = {"domain": "Domain", "ipcidr": "IPCIDR", "classical": "Classical", "domain-set": "Domain"}


def proxy_providers(profile: Profile | None, proxies: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The profile's lists of servers, and its subscription by the profile's name, with the servers that they gave."""
    if profile is None:
        return {}
    lists = {name: _list(name, each, proxies) for name, each in profile.server_lists.items()}
    return {**_subscription(profile, proxies), **lists}


def _list(name: str, section: ServerListSection, proxies: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": name,
        "type": "Proxy",
        "vehicleType": "HTTP",
        "testUrl": "",
        "proxies": [proxies[each] for each in section.servers if each in proxies],
        "updatedAt": section.fetched or _NEVER,
    }


def _subscription(profile: Profile, proxies: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    if profile.subscription is None:
        return {}
    known = subscriptions.facts_of(profile.name)
    found: dict[str, Any] = {
        "name": profile.name,
        "type": "Proxy",
        "vehicleType": "HTTP",
        "testUrl": "",
        "proxies": [proxies[name] for name in profile.servers if name in proxies],
        "updatedAt": known.fetched or _NEVER,
    }
    used, total, expires = known.user_info
    if (used, total, expires) != (None, None, None):
        found["subscriptionInfo"] = {"Upload": 0, "Download": used or 0, "Total": total or 0, "Expire": expires or 0}
    return {profile.name: found}


def rule_providers(profile: Profile | None) -> dict[str, dict[str, Any]]:
    """The profile's rule sets by name."""
    return {} if profile is None else {name: _rule_set(name, each, profile) for name, each in profile.rule_sets.items()}


def _rule_set(name: str, section: RuleSetSection, profile: Profile) -> dict[str, Any]:
    path = _path(section, profile)
    return {
        "name": name,
        "type": "Rule",
        "behavior": _BEHAVIORS[section.behavior],
        "format": "TextRule",
        "vehicleType": "HTTP" if section.url else "File" if section.file else "Inline",
        "ruleCount": len(section.lines) if path is None else _count(path, section.behavior),
        "updatedAt": _NEVER if path is None else _changed(path),
    }


def _path(section: RuleSetSection, profile: Profile) -> Path | None:
    if section.url is not None:
        return rule_data.find(rule_data.rule_set_path(section.url))
    return Path(profile.file).parent / section.file if section.file is not None else None


def _count(path: Path, behavior: str) -> int:
    """Lines that say something; 0 for what this process may not read."""
    try:
        text = rule_data.list_text(rule_data.read(path), str(path), behavior)
    except LocalError:
        return 0
    lines = (line.strip() for line in text.splitlines())
    return sum(1 for line in lines if line and line != "payload:" and not line.startswith(("#", "//")))


def _changed(path: Path) -> str:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except OSError:
        return _NEVER
