"""The plan of instructions, for a process that lives long: what reads and checks profiles stays out of it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from tunflow.host.short_process import in_short_process

if TYPE_CHECKING:
    from tunflow.cli.instructions import Instructions
    from tunflow.tunnel.plan import Plan


class MadePlan(NamedTuple):
    """A plan, and what became known while it was made."""

    plan: Plan
    instructions: Instructions
    """Those that it was made of, with the profile's path."""
    notes: list[str]
    """Lines of its rules that are not understood, for people."""


def made_plan(instructions: Instructions) -> MadePlan:
    """Read the profile and compile it in a process that ends with that (docs/adr/0134). Raises LocalError."""
    return in_short_process(partial(_make, instructions))


def _make(instructions: Instructions) -> MadePlan:
    from tunflow.tunnel.compile import compile_profile  # noqa: PLC0415 - this is what is to stay out
    from tunflow.tunnel.rule_lists import RuleLists  # noqa: PLC0415

    profile = instructions.make_profile()
    notes: list[str] = []
    plan = compile_profile(profile, RuleLists(profile, notes.append), lasting=True)
    return MadePlan(plan, instructions.with_path(), notes)
