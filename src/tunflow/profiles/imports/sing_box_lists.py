"""sing-box's `rule_set`: lists in the configuration, in files beside it, and at addresses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tunflow.errors import LocalError
from tunflow.profiles.imports import keys
from tunflow.profiles.imports.draft import Draft
from tunflow.profiles.imports.seconds import again_after, seconds_of
from tunflow.rules.headless_rules import BEHAVIOR, condition, listed


def read_rule_sets(given: Any, draft: Draft, folder: Path) -> None:
    """Put all of them into a draft; a line is told of each that cannot be taken."""
    for number, rule_set in enumerate(listed(given)):
        place = f"route.rule_set[{number}]"
        try:
            if not isinstance(rule_set, dict) or not isinstance(rule_set.get("tag"), str) or "," in rule_set["tag"]:
                raise LocalError("a rule set is a table with a tag that has no comma")
            draft.rule_sets[rule_set["tag"]] = _section(rule_set, folder)
        except (LocalError, ValueError) as error:
            draft.tell(place, str(error))
            continue
        for key, words, _ in keys.unspoken("sing-box", "rule set", rule_set):
            draft.tell(f"{place}.{key}", words, is_lost=False)


def _section(rule_set: dict[str, Any], folder: Path) -> dict[str, Any]:
    """One list as a profile has it. Raises LocalError, ValueError."""
    kind = str(rule_set.get("type") or "inline")
    if kind == "inline":
        if not (rules := listed(rule_set.get("rules"))):
            raise LocalError("rules are missing")
        for rule in rules:
            condition(rule)  # of a list that is fetched a line is told, and the others count; here they can be mended
        return {"behavior": BEHAVIOR, "lines": [json.dumps({"rules": rules}, ensure_ascii=False)]}
    if kind not in {"local", "remote"}:
        raise LocalError(f"type {kind} is not supported; inline, local and remote are")
    given = rule_set.get("path" if kind == "local" else "url")
    if not isinstance(given, str) or not given:
        raise LocalError(f"{'path' if kind == 'local' else 'url'} is missing")
    if kind == "local":
        return {"behavior": BEHAVIOR, "file": str(folder / Path(given).expanduser())}
    return {"behavior": BEHAVIOR, "url": given, **again_after(seconds_of(rule_set.get("update_interval")))}
