"""What is said of subscriptions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunflow.profiles.profile import Profile


def quota_of(profile: Profile) -> dict[str, Any] | None:
    """What is known of a profile's subscription: bytes used and in all, when it ends, when it was fetched."""
    if profile.subscription is None:
        return None
    from tunflow.tunnel.subscriptions import facts_of  # noqa: PLC0415 - which imports the importers

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
