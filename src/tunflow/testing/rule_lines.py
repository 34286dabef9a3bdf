"""The rules of a list in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tunflow.rules.syntax import EMPTY, Context, Rule, RuleLine, is_comment, parse_rule


def parse_rules(lines: Iterable[str], file: str, context: Context = EMPTY) -> Iterator[Rule]:
    """The rules, one a line; empty lines and comments are passed over. Raises LocalError."""
    for number, text in enumerate(lines, 1):
        if not is_comment(text):
            yield parse_rule(RuleLine(text.strip(), file, number), context)
