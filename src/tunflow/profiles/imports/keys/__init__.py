"""What becomes of every key of another program's configuration: a table for each format, which the docs show too.

    KEYS | done, told or refused | values of which nothing is said | what is done, or why not

`done` is in the profile. `told` is left out and changes nothing that anybody would be hurt by: it is said. `refused`
changes where flows go or what protects them: it is said too, and the import takes `--partial`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

FORMATS = ("clash", "surge", "sing-box", "xray")
STATES = ("done", "told", "refused")
_NOTHING = {"", "none"}


class KeyUse(NamedTuple):
    """What becomes of a key."""

    state: str
    silent: frozenset[str]
    """Values of which nothing is said."""
    words: str


class Row(NamedTuple):
    """A line of a table: keys with one fate."""

    section: str
    keys: tuple[str, ...]
    fate: KeyUse


@cache
def rows(name: str) -> tuple[Row, ...]:
    """The table of a format."""
    section, found = "", []
    text = files(__package__).joinpath(f"{name}.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("#") or not line:
            continue
        if "|" not in line:
            section = line[1:-1]
            continue
        keys, state, silent, words = (part.strip() for part in line.split("|"))
        assert state in STATES, line
        found.append(Row(section, tuple(keys.split()), KeyUse(state, frozenset(silent.split()), words)))
    return tuple(found)


@cache
def fates(name: str, section: str) -> Mapping[str, KeyUse]:
    """The fates of the keys of a section."""
    return {key: row.fate for row in rows(name) if row.section == section for key in row.keys}


def unspoken(name: str, section: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """What is to be said about the keys of a mapping: each key, why, and whether it is refused.

    Keys that are done, and values that change nothing, are not among them.
    """
    known = fates(name, section)
    for key, value in values.items():
        fate = known.get(key)
        if fate is None:
            yield key, "is not known", True
        elif fate.state != "done" and not _says_nothing(value, fate.silent):
            yield key, fate.words, fate.state == "refused"


def _says_nothing(value: Any, silent: frozenset[str]) -> bool:
    """Return True if a value is as if the key were not there."""
    if isinstance(value, dict):
        return not value or any(value.get(key) == only for key, _, only in (each.partition(":") for each in silent))
    if isinstance(value, list):
        return not value
    text = str(value).strip().lower() if value is not None else ""
    return text in _NOTHING or text in silent


def markdown(name: str) -> str:
    """The table for docs/rules.md."""
    lines = ["| section | keys | | |", "|---|---|---|---|"]
    for row in rows(name):
        keys = " ".join(f"`{key.replace('_', ' ') if key[0] == '[' else key}`" for key in row.keys)
        lines.append(f"| {row.section.replace('_', ' ')} | {keys} | {row.fate.state} | {row.fate.words} |")
    return "\n".join(lines)
