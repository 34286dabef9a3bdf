"""`tunflow groups`: which servers the groups of the tunnel that is up use, and choosing one."""

from __future__ import annotations

import argparse
import json
from typing import Any

from tunflow.control.client import NotRunning, Refused, ask
from tunflow.errors import LocalError
from tunflow.host.runtime import RuntimeDirectory


def groups(options: argparse.Namespace) -> int:
    """Print them; the exit status. Raises LocalError."""
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
    print(json.dumps(found, indent=2, ensure_ascii=False) if options.json else "\n".join(map(_told, found)))  # noqa: T201
    return 0


def _told(group: dict[str, Any]) -> str:
    lines = [f"{group['name']} ({group['type']}): {group['now']}"]
    for member in group["members"]:
        delay = f"{member['delay'] * 1000:.0f} ms" if member["delay"] is not None else "not asked yet"
        lines.append(f"  {member['name']}: {delay if member['works'] else 'does not work'}")
    return "\n".join(lines)
