"""Durations as Go's programs write them."""

from __future__ import annotations

import re
from typing import Any

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")


def seconds_of(text: Any) -> float | None:
    """The seconds of `3m`, `1m30s` or `500ms`; None for none that is read."""
    given = str(text or "")
    parts = _PART.findall(given)
    if not parts or "".join(number + unit for number, unit in parts) != given:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def again_after(seconds: float | None) -> dict[str, float]:
    """`interval` of a rule set that is fetched again after so many seconds; nothing for never."""
    return {"interval": min(31_536_000.0, max(60.0, float(seconds)))} if seconds else {}
