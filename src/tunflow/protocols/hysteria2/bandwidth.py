"""Rates and port lists as Hysteria's and Clash's files write them."""

from __future__ import annotations

import re

from tunflow.errors import LocalError
from tunflow.protocols.link import printable

_RATE = re.compile(r"([0-9]{1,9})\s*(|bps|b|kbps|kb|k|mbps|mb|m|gbps|gb|g|tbps|tb|t)", re.IGNORECASE)
_POWERS = {"": 2, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4}
MOST_PORTS = 65535


def megabits(key: str, text: str | None) -> int:
    """A rate in whole megabits a second, 0 where none is given; a number alone is one already. Raises LocalError."""
    if not text:
        return 0
    found = _RATE.fullmatch(text.strip())
    if found is None:
        raise LocalError(f"{key} is a rate such as 50 or '50 mbps', not {printable(text)!r}")
    unit = found[2].lower()[:1]
    bits = int(found[1]) * 1000 ** _POWERS[unit]
    return max(1, bits // 1_000_000) if bits else 0


def ports_of(key: str, text: str) -> tuple[int, ...]:
    """The ports of a list such as `443,5000-6000`, in order. Raises LocalError."""
    found: list[int] = []
    for part in text.replace("/", ",").split(","):
        range_of = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", part.strip())
        first = int(range_of[1]) if range_of is not None else 0
        last = int(range_of[2] or first) if range_of is not None else 0
        if not 1 <= first <= last <= MOST_PORTS:
            raise LocalError(
                f"{key} is a list of ports from 1 to 65535, such as 443,5000-6000, not {printable(text)!r}"
            )
        found += range(first, last + 1)
    return tuple(dict.fromkeys(found))
