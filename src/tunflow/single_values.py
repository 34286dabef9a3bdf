"""Keys and values that others wrote, each key with one value.

Where a key is given twice, programs differ in which of the two they take: what a user read, or a checker allowed, would
not be what holds. `put` and `json_value` refuse a second value that is another one.
"""

from __future__ import annotations

import json
import re
from collections.abc import MutableMapping
from typing import Any

_LONGEST_SHOWN = 40
_MAYBE_HALF = re.compile(r"\\u[dD][89abcdefABCDEF]|[\ud800-\udfff]")


class TwoValues(ValueError):
    """A key is given twice, with two values."""


def put(values: MutableMapping[str, Any], key: str, value: Any) -> None:
    """Add a value. Raises TwoValues."""
    if values.setdefault(key, value) != value:
        raise TwoValues(f"{key[:_LONGEST_SHOWN]!r} is given twice, with two values")


def json_value(text: str | bytes | bytearray) -> Any:
    """The value of a JSON text, in UTF-8 where it is bytes. Raises ValueError: TwoValues, or for what is no JSON."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("the JSON is nested too deep") from None


def text_json_value(text: str | bytes) -> Any:
    """The same where what it says is written again. Raises ValueError also for half of a character.

    RFC 8259 section 8.2: JSON can name a surrogate without its other half, which no text in UTF-8 has. In files of our
    own such halves are bytes of paths that are no UTF-8.
    """
    whole = text if isinstance(text, str) else text.decode("utf-8-sig")
    value = json_value(whole)
    if _MAYBE_HALF.search(whole):
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        values.clear()
        for key, value in pairs:
            put(values, key, value)
    return values
