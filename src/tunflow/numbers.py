"""Whole numbers in text that others wrote.

`int` takes `1_000`, `+1`, blanks and the digits of every script, and refuses 5,000 digits with an error that nobody
expects. What a peer, a list or a user writes goes through `whole_number`.
"""

from __future__ import annotations

import re

LONGEST = 64
"""Digits, leading zeros among them."""

_DIGITS = {
    8: re.compile(f"[0-7]{{1,{LONGEST}}}"),
    10: re.compile(f"[0-9]{{1,{LONGEST}}}"),
    16: re.compile(f"[0-9a-fA-F]{{1,{LONGEST}}}"),
}


class NotANumber(ValueError):
    """Text is no whole number, or a larger one than is accepted."""


def whole_number(text: str | bytes, limit: int, base: int = 10) -> int:
    """The number from 0 to `limit` that ASCII digits alone spell in base 8, 10 or 16. Raises NotANumber."""
    if isinstance(text, bytes):
        text = text.decode("ascii", "replace")
    if _DIGITS[base].fullmatch(text) is None:
        raise NotANumber(f"{text[:LONGEST]!r} is not a number")
    number = int(text, base)
    if number > limit:
        raise NotANumber(f"{text[:LONGEST]!r} is more than {limit}")
    return number
