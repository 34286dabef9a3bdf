"""The tests of names and addresses that a resolver's plan is made of, as values that another process can have.

They need nothing of what reads profiles: whoever gets a plan loads no more than these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tunflow.dns.answers import AAAA
from tunflow.dns.chinadns_ng import ChinaDNSNG
from tunflow.dns.selection import AddressTest, NameTest
from tunflow.dns.special_names import stays_here
from tunflow.rules.cidr import CIDRSet
from tunflow.rules.domains import normalise
from tunflow.rules.name_patterns import NamePatterns

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AnyOf(Generic[T]):
    """Passed by what passes one of its tests."""

    tests: tuple[Callable[[T], bool], ...]

    def __call__(self, value: T) -> bool:
        """Return True if one of them does."""
        return any(test(value) for test in self.tests)


@dataclass(frozen=True, slots=True)
class InBut:
    """Addresses that pass a test, but for some."""

    inside: AddressTest
    but: CIDRSet

    def __call__(self, address: bytes) -> bool:
        """Return True if it does and is none of them."""
        return self.inside(address) and address not in self.but


@dataclass(frozen=True, slots=True)
class Real:
    """Names that get no fake address where only some do."""

    only: NameTest
    real: NameTest

    def __call__(self, name: str) -> bool:
        """Return True if it is none of those that do, or one of those that never do."""
        return not self.only(name) or self.real(name)


@dataclass(frozen=True, slots=True)
class Stays:
    """Names that no resolver is asked for, but for some."""

    asked: NameTest

    def __call__(self, name: str, kind: int) -> bool:
        """Return True if no resolver is."""
        return stays_here(name, kind) and not self.asked(name)


@dataclass(frozen=True, slots=True)
class Hides:
    """Which records no name has."""

    all_aaaa: bool
    refined: ChinaDNSNG | None = None

    def __call__(self, name: str, kind: int) -> bool:
        """Return True if the name has none of that type."""
        if kind != AAAA:
            return False
        return self.all_aaaa or (self.refined is not None and self.refined.hides(name, kind))


class ByName(dict[str, T]):
    """Values by name, and by patterns of names."""

    def __init__(self) -> None:
        super().__init__()
        self._others: list[tuple[NamePatterns, T]] = []

    def put(self, name: str, value: T) -> None:
        """Raises ValueError for what is no name and no pattern."""
        if "*" in name or name[:1] in {"+", "."}:
            self._others.append((NamePatterns([name]), value))
        else:
            self[normalise(name)] = value

    def get(self, name: str, default: Any = None) -> Any:
        """As of any mapping; a name before patterns."""
        found = super().get(name)
        if found is not None:
            return found
        return next((value for patterns, value in self._others if name in patterns), default)
