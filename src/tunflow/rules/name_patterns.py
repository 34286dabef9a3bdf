"""Names as lists for resolvers write them.

    example.com, +.example.com     the name and all below it
    .example.com                   only what is below it
    *.example.com, ntp.*.example   one label where the star is; `*` alone: a name of one label
    full:example.com               the name alone

Read first: https://wiki.metacubex.one/en/handbook/syntax/ (the wildcards of Clash).
"""

from __future__ import annotations

from collections.abc import Iterable

from tunflow.rules.conditions import DomainWildcard
from tunflow.rules.domains import DomainSet, normalise

_FULL = "full:"


class NamePatterns:
    """Any of several patterns; `name in patterns` takes names in lower case without the last dot."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raises ValueError for what is no pattern."""
        exact: set[str] = set()
        below: set[str] = set()
        others: list[DomainWildcard] = []
        for pattern in patterns:
            text = pattern.strip()
            if text.startswith(_FULL):
                exact.add(normalise(text.removeprefix(_FULL)))
            elif "*" in text or text.startswith("."):
                others += _wildcards(text)
            else:
                below.add(normalise(text.removeprefix("+.")))
        self._names = DomainSet(exact, below)
        self._others = tuple(others)

    def __contains__(self, name: str) -> bool:
        return name in self._names or any(other.names(name) for other in self._others)

    def __bool__(self) -> bool:
        return bool(self._names) or bool(self._others)


def _wildcards(text: str) -> list[DomainWildcard]:
    below = text.startswith(("+.", "."))
    alone = not text.startswith(".")
    labels = tuple(
        label if label == "*" else normalise(label) for label in text.removeprefix("+").removeprefix(".").split(".")
    )
    return [DomainWildcard(labels, below=each) for each in (True, False) if (below if each else alone)]
