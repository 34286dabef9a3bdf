"""`tunflow groups`: which servers the groups of the tunnel that is up use, and choosing one."""

from __future__ import annotations

import argparse
import json
from typing import Any

from tunflow.cli.table import print_table
from tunflow.control.client import NotRunning, Refused, ask
from tunflow.errors import LocalError
from tunflow.host.runtime import RuntimeDirectory

TEST = "test"


def groups(options: argparse.Namespace) -> int:
    """Print them; the exit status. Raises LocalError."""
    if options.group == TEST:
        from tunflow.cli.groups_test import test_servers  # noqa: PLC0415 (dialers and more, for who uses it)

        return test_servers(options.member, options.profile, as_json=options.json)
    if options.profile is not None:
        raise LocalError("--profile goes with test: tunflow groups test --profile PROFILE")
    if options.group is not None and options.member is None:
        raise LocalError("name the server too: tunflow groups GROUP SERVER")
    chosen = {"group": options.group, "member": options.member} if options.group is not None else {}
    try:
        answer = ask(RuntimeDirectory.running().control, "groups", **chosen)
    except NotRunning:
        raise LocalError("no tunnel is up: tunflow up PROFILE") from None
    except Refused as error:
        raise LocalError(str(error)) from None
    found: list[dict[str, Any]] = answer["groups"]
    if options.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))  # noqa: T201
        return 0
    for group in found:
        print(f"{group['name']} ({group['type']}): {group['now']}")  # noqa: T201
        print_table([("", member["name"], _told(member)) for member in group["members"]])
    return 0


def _told(member: dict[str, Any]) -> str:
    if not member["works"]:
        return "does not work"
    return f"{member['delay'] * 1000:.0f} ms" if member["delay"] is not None else "not asked yet"
