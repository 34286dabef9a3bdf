"""Odd values in every place of a document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import Any

Place = tuple[str | int, ...]


def with_odd_values(data: Any, odd: Iterable[Any]) -> Iterator[tuple[Place, Any]]:
    """Copies of a document of tables and lists, in each of which one value is an odd one; and where that is."""
    values = tuple(odd)
    for *folder, last in _places(data):
        for value in values:
            changed = deepcopy(data)
            table = changed
            for key in folder:
                table = table[key]
            table[last] = value
            yield (*folder, last), changed


def _places(data: Any, place: Place = ()) -> Iterator[Place]:
    if place:
        yield place
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from _places(value, (*place, key))
