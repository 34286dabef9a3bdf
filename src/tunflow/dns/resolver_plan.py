"""What a resolver does with names, as a value: a reload replaces it as a whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tunflow.dns.proof import Validation
from tunflow.dns.questions import DNSSEC
from tunflow.dns.selection import NameTest, Selector


@dataclass(frozen=True, slots=True)
class ResolverPlan:
    """What a reload replaces."""

    selector: Selector
    hosts: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Names that are looked up as others."""
    must_be_real: NameTest = lambda name: False  # noqa: ARG005
    """Names that get no fake address."""
    hides: Callable[[str, int], bool] = lambda name, kind: False  # noqa: ARG005
    """Names and types that are answered with "no such record"."""
    stays: Callable[[str, int], bool] = lambda name, kind: False  # noqa: ARG005
    """Names and types that no resolver is asked for: they do not exist (`special_names.stays_here`)."""
    gives_fake: bool = True
    """True if names get fake addresses, if there are some; those given out before go on to mean what they did."""
    dnssec: DNSSEC = DNSSEC.PASS
    validation: Validation | None = None
    """Judges answers by their signatures; there is one exactly with `DNSSEC.VALIDATE`."""
    hidden: NameTest = lambda name: False  # noqa: ARG005
    """Names that do not exist: of public resolvers, so that clients use this one."""
