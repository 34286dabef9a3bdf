"""`tunflow explain`: which rule, group and server a flow would get, and why."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from tunflow.addresses import ip_address
from tunflow.cli.name_lookup import look_up
from tunflow.cli.saying import say
from tunflow.errors import LocalError
from tunflow.flow import ProcessInfo
from tunflow.profiles.store import load_profile
from tunflow.tunnel.explain import Explanation, parse_destination
from tunflow.tunnel.explain import explain as explain_flow


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
    profile = load_profile(options.profile, say)
    told = explain_flow(
        profile,
        parse_destination(options.destination),
        lambda name: look_up(profile, name),
        network=options.network,
        source=options.source,
        process=process,
        look_up_always=not options.no_lookup,
    )
    print(json.dumps(_facts(told), indent=2, ensure_ascii=False) if options.json else "\n".join(_lines(told)))  # noqa: T201
    return 0


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
