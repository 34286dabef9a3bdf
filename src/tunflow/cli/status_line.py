"""`tunflow status` in one line: for a status bar (waybar, i3status, polybar), or as somebody wants it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tunflow.errors import LocalError

KEYS = (
    "status", "device", "servers", "since", "path", "profile", "bytes_in", "bytes_out", "flows", "kill_switch", "pid",
    "trouble",
)  # fmt: skip
"""What `--format` may name in braces."""
_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_WORDS = {"connected": "VPN", "captive": "VPN: login", "disconnected": "no VPN"}


def met_troubles(facts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The troubles that flows meet: not those of servers that groups have turned from."""
    return [each for each in facts.get("troubles") or () if not each.get("avoided")]


def formatted(text: str, facts: Mapping[str, Any]) -> str:
    """The text with `{key}` replaced; `{{` is a brace. Raises LocalError for what is no key."""

    def value(found: re.Match[str]) -> str:
        if found[0] in {"{{", "}}"}:
            return found[0][0]
        if found[1] not in KEYS:
            raise LocalError(f"--format: {found[0]} is not known: there are {', '.join(f'{{{key}}}' for key in KEYS)}")
        return _word(found[1], facts)

    return _FIELD.sub(value, text)


def waybar(facts: Mapping[str, Any]) -> str:
    """A line of JSON as waybar's custom modules read it: text, alt, class, tooltip."""
    status = str(facts["status"])
    shown = "trouble" if status == "connected" and met_troubles(facts) else status
    lines = [status, *(_word(key, facts) for key in ("trouble", "servers", "path") if _word(key, facts))]
    said = {
        "text": _WORDS.get(status, "VPN…"),
        "alt": shown,
        "class": [shown, *(["kill-switch"] if facts.get("kill_switch") else [])],
        "tooltip": "\n".join(line.replace("&", "&amp;").replace("<", "&lt;") for line in lines),
    }
    return json.dumps(said, ensure_ascii=False)


def _word(key: str, facts: Mapping[str, Any]) -> str:
    if key == "trouble":
        return "; ".join(str(each["what"]) for each in met_troubles(facts))
    value = facts.get(key)
    if key == "servers":
        return " -> ".join(value or ())
    if key == "kill_switch":
        return "on" if value else "off"
    return "" if value is None else str(value)
