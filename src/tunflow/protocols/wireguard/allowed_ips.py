"""Whose an inner address is: the longest prefix wins (the paper, §2: cryptokey routing).

One dictionary for each length of prefix that is used: a lookup costs as many of them as there are lengths, as a rule
one to three, and what was found is remembered. A trie of nodes costs a step for each bit, and in Python a step is as
dear as a dictionary.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Generic, TypeVar

Whose = TypeVar("Whose")

REMEMBERED = 1 << 14
"""Addresses whose owner is remembered; then it begins anew."""


class AllowedIPs(Generic[Whose]):
    """Networks of both families, and whose they are. Addresses are packed, 4 or 16 bytes."""

    def __init__(self) -> None:
        self._tables: dict[int, dict[int, dict[int, Whose]]] = {4: {}, 16: {}}
        """By the address's bytes, then by the bits below the prefix, fewest first: prefix to owner."""
        self._found: dict[bytes, Whose | None] = {}

    def add(self, network: IPv4Network | IPv6Network, whose: Whose) -> None:
        """Give a network to somebody; whoever had the very same one before has it no more."""
        size = network.max_prefixlen // 8
        below = network.max_prefixlen - network.prefixlen
        tables = self._tables[size]
        tables.setdefault(below, {})[int(network.network_address) >> below] = whose
        self._tables[size] = dict(sorted(tables.items()))
        self._found.clear()

    def remove(self, whose: Whose) -> None:
        """Take all that somebody has."""
        for tables in self._tables.values():
            for below, table in list(tables.items()):
                kept = {prefix: owner for prefix, owner in table.items() if owner is not whose}
                if kept:
                    tables[below] = kept
                else:
                    del tables[below]
        self._found.clear()

    def find(self, address: bytes) -> Whose | None:
        """Whose the address is; None for nobody's."""
        found = self._found
        if address in found:
            return found[address]
        whose = self._look_up(address)
        if len(found) >= REMEMBERED:
            found.clear()
        found[address] = whose
        return whose

    def _look_up(self, address: bytes) -> Whose | None:
        number = int.from_bytes(address, "big")
        for below, table in self._tables.get(len(address), {}).items():
            if number >> below in table:
                return table[number >> below]
        return None

    def networks_of(self, whose: Whose) -> Iterator[IPv4Network | IPv6Network]:
        """What somebody has, longest prefixes first."""
        for size, tables in self._tables.items():
            for below, table in tables.items():
                for prefix in (prefix for prefix, owner in table.items() if owner is whose):
                    where = (prefix << below, size * 8 - below)
                    yield IPv4Network(where) if size == 4 else IPv6Network(where)
