"""How much of a subscription is used, and when it ends: the header `Subscription-Userinfo` that providers send.

upload=455727941; download=6174315083; total=1073741824000; expire=1671815872
"""

from __future__ import annotations

from typing import NamedTuple

from tunflow.numbers import NotANumber, whole_number

_LARGEST = (1 << 63) - 1
_LATEST = 253_402_300_799
"""Seconds since 1970 of the last moment of the year 9999."""


class UserInfo(NamedTuple):
    """Bytes, and seconds since 1970; None for what the provider does not say."""

    used: int | None = None
    total: int | None = None
    expires: int | None = None


def parse_user_info_untrusted(header: str) -> UserInfo:
    """What a header says; what cannot be read of it is as if it were not there."""
    found: dict[str, int] = {}
    for part in header[:1000].split(";"):
        key, _, value = part.partition("=")
        try:
            found[key.strip().lower()] = whole_number(value.strip().partition(".")[0], _LARGEST)
        except NotANumber:
            continue
    used = [found[key] for key in ("upload", "download") if key in found]
    expires = found.get("expire")
    return UserInfo(
        sum(used) if used else None,
        found.get("total") or None,
        expires if expires and expires <= _LATEST else None,
    )
