"""`tunflow explain`: which rule, group and server a flow would get, and why."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import NamedTuple

from tunflow.addresses import ip_address
from tunflow.cli.name_lookup import look_up
from tunflow.cli.stderr import say
from tunflow.control.client import NotRunning, Refused, ask
from tunflow.errors import LocalError
from tunflow.flow import ProcessInfo
from tunflow.host.runtime import RuntimeDirectory
from tunflow.profiles.store import load_profile
from tunflow.tunnel.compile import compile_profile
from tunflow.tunnel.explain import Explanation, parse_destination
from tunflow.tunnel.explain import explain as explain_flow
from tunflow.tunnel.rule_lists import RuleLists


def explain(options: argparse.Namespace) -> int:
    """Print it; the exit status. Raises LocalError."""
    try:
        ip_address(options.source)
    except ValueError:
        raise LocalError(f"--source {options.source!r} is not an address") from None
    process = None
    if options.process is not None or options.uid is not None:
        is_path = options.process is not None and "/" in options.process
        process = ProcessInfo(
            executable=options.process if is_path else None,
            name=options.process and options.process.rpartition("/")[2],
            uid=options.uid,
        )
    running = _running() if options.profile is None else None
    profile = load_profile(options.profile if running is None else running.profile, say)
    plan = compile_profile(profile, RuleLists(profile, say))
    told = explain_flow(
        plan,
        parse_destination(options.destination),
        lambda name: look_up(plan, name),
        network=options.network,
        source=options.source,
        process=process,
        look_up_always=not options.no_lookup,
        chosen={} if running is None else running.chosen,
    )
    print(json.dumps(_facts(told), indent=2, ensure_ascii=False) if options.json else "\n".join(_lines(told)))  # noqa: T201
    return 0


class _Running(NamedTuple):
    """The tunnel that is up: its profile, and what was chosen in each group of the type select."""

    profile: str
    chosen: dict[str, str]


def _running() -> _Running:
    """What the tunnel that is up goes by. Raises LocalError where there is none, or it has no profile."""
    control = RuntimeDirectory.running().control
    try:
        profile = ask(control, "status").get("profile")
        if not profile:
            raise LocalError("the tunnel that is up has no profile, so one server has everything; or name a --profile")
        groups = ask(control, "groups")["groups"]
    except NotRunning:
        raise LocalError("no tunnel is up: tunflow up PROFILE, or explain DESTINATION --profile PROFILE") from None
    except Refused:
        groups = []  # a profile without rules
    return _Running(str(profile), {group["name"]: group["now"] for group in groups if group["type"] == "select"})


def _facts(told: Explanation) -> dict[str, object]:
    facts = asdict(told)
    facts["rule"] = told.rule._asdict()
    facts["groups"] = [
        {"name": name, "type": kind, "members": members} for name, (kind, members) in told.groups.items()
    ]
    return facts


def _lines(told: Explanation) -> list[str]:
    rule = told.rule
    where = f"{rule.file}:{rule.line}" if rule.line else rule.file
    text = "no rule is about it: the profile's server" if told.is_default else rule.text
    lines = [f"flow     {told.network} to {told.destination}" + (f" from {told.process}" if told.process else "")]
    if told.name is not None:
        lines += [f"name     {told.name}", *(f"answer   {answer}" for answer in told.answers)]
    lines += [f"address  {told.address or '-'} ({told.address_from})", f"rule     {where}: {text}"]
    for number, (name, (kind, members)) in enumerate(told.groups.items()):
        lines.append(f"group    {name} ({kind} of {', '.join(members)}): {told.path[number + 1]}")
    return [*lines, f"server   {told.path[-1]}: {told.server}", f"asks for {told.asked_for}"]
