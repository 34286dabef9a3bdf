"""What a resolver does with names, as a value: a reload replaces it as a whole.

Its tests are functions and objects that another process can have a copy of; a `lambda` is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tunflow.dns.proof import Validation
from tunflow.dns.questions import DNSSEC
from tunflow.dns.selection import NameTest, Selector


def no_name(name: str) -> bool:  # noqa: ARG001
    """Return True for no name."""
    return False


def no_record(name: str, kind: int) -> bool:  # noqa: ARG001
    """Return True for no name, whatever the type of record."""
    return False


@dataclass(frozen=True, slots=True)
class ResolverPlan:
    """What a reload replaces."""

    selector: Selector
    hosts: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Names that are looked up as others."""
    must_be_real: NameTest = no_name
    """Names that get no fake address."""
    hides: Callable[[str, int], bool] = no_record
    """Names and types that are answered with "no such record"."""
    stays: Callable[[str, int], bool] = no_record
    """Names and types that no resolver is asked for: they do not exist (`special_names.stays_here`)."""
    gives_fake: bool = True
    """True if names get fake addresses, if there are some; those given out before go on to mean what they did."""
    dnssec: DNSSEC = DNSSEC.PASS
    validation: Validation | None = None
    """Judges answers by their signatures; there is one exactly with `DNSSEC.VALIDATE`."""
    hidden: NameTest = no_name
    """Names that do not exist: of public resolvers, so that clients use this one."""
