"""The devices of a network that a profile has names and tags for, and whether a rule is for one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tunflow.filter.conditions import Audience, Chosen
from tunflow.rules.cidr import CIDRSet


class KnownDevice(NamedTuple):
    """A device that the profile has a name for."""

    name: str
    tags: frozenset[str]
    networks: CIDRSet | None
    hardware: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Devices:
    """The devices of a profile."""

    known: tuple[KnownDevice, ...] = ()

    @property
    def needs_hardware(self) -> bool:
        """True if some are known by their hardware addresses."""
        return any(each.hardware for each in self.known)

    def names_of(self, client: bytes | None, hardware: bytes | None) -> tuple[str, ...]:
        """The names of a device, by its packed address and its hardware address, as far as they are known."""
        return tuple(each.name for each in self._those_of(client, hardware))

    def concerns(self, audience: Audience, client: bytes | None, hardware: bytes | None, unknown: bool) -> bool:
        """Return True if a client belongs to an audience, by its packed address and its hardware address; `unknown`
        where nobody knows which device it is."""
        if client is None:
            return unknown
        mine = self._those_of(client, hardware)
        asks_for_devices = audience.names != Chosen() or audience.tags != Chosen()
        if hardware is None and self.needs_hardware and not mine and asks_for_devices:
            return unknown
        tags = frozenset(tag for each in mine for tag in each.tags)
        if not audience.tags.has(tags):
            return False
        names = frozenset(each.name for each in mine)
        if not audience.names.others.isdisjoint(names) or client in audience.beyond:
            return False
        if not audience.names.meant and not audience.networks:
            return True
        return not audience.names.meant.isdisjoint(names) or client in audience.within

    def _those_of(self, client: bytes | None, hardware: bytes | None) -> list[KnownDevice]:
        return [
            each
            for each in self.known
            if (client is not None and each.networks is not None and client in each.networks)
            or hardware in each.hardware
        ]
