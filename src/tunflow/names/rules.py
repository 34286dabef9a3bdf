"""What is said about names from outside: a content filter's rules, and addresses that are wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from tunflow.flow import FlowInfo


class Unresolved(NamedTuple):
    """A name whose real address is wanted."""

    name: str
    is_ipv6: bool
    """Whether an IPv6 address comes first."""


@dataclass(frozen=True, slots=True)
class NameRules:
    """What a content filter says about names."""

    refuses: Callable[[str, FlowInfo], bool] | None = None
    """Says whether a client is told that there is no such name."""
    instead: Callable[[str], str | None] | None = None
    """Says whose addresses a name is answered with, if not with its own: strict modes."""
    hides_services: bool = False
    """Whether there are no HTTPS and SVCB records: they have the keys of encrypted hellos (RFC 9848)."""


NO_RULES = NameRules()
