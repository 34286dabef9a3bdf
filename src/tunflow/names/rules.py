"""What is said about names from outside: a content filter's rules, and addresses that are wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tunflow.flow import FlowInfo


class Unresolved(NamedTuple):
    """A name whose real address is wanted."""

    name: str
    is_ipv6: bool
    """True if an IPv6 address comes first."""


class MadeAnswer(NamedTuple):
    """What a name is answered with in place of what there is."""

    code: int = 0
    """The response code."""
    alias: str = ""
    """The name whose addresses it gets; "" where there is none."""
    records: tuple[tuple[int, bytes], ...] = ()
    """Types of records and their data in wire form, also of other types than the one asked for."""


@dataclass(frozen=True, slots=True)
class NameRules:
    """What a content filter says about names."""

    refuses: Callable[[str, FlowInfo], bool] | None = None
    """Says whether a client is told that there is no such name."""
    refuses_answer: Callable[[str, Sequence[str], FlowInfo], bool] | None = None
    """Says the same once an answer is there, of a name and the names that its answer leads to (CNAME and the like)."""
    judges_aliases: Callable[[str, FlowInfo], bool] | None = None
    """Says whether `refuses_answer` wants to hear what a name is an alias of, also where it gets a fake address."""
    instead: Callable[[str], str | None] | None = None
    """Says whose addresses a name is answered with, if not with its own: strict modes."""
    hides_services: bool = False
    """True if there are no HTTPS and SVCB records: they have the keys of encrypted hellos (RFC 9848)."""
    answers: Callable[[str, int, FlowInfo], MadeAnswer | None] | None = None
    """Says what a name is answered with, by the type of records that a client asks for; before all others."""


NO_RULES = NameRules()
