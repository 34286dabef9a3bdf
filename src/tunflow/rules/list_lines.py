"""The entries of a list: one a line, or Clash's YAML with the key `payload`.

What real lists hold is read: a byte order mark, CRLF, `---`, notes on lines of their own (`#`, `;`, `//`) and behind a
value, quotes, an indented payload, and one in brackets (`payload: [a, b]`).

Rule: nearly all of a long list are plain names and prefixes. One expression goes over the whole text and gives those
one after the other; only what lies between is looked at line by line, and only a list whose YAML is more than
`- item` a line is given to a general reader, which would need a minute for a long one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import yaml

from tunflow.errors import LocalError

MOST_YAML = 4 * 1024 * 1024
"""Characters of a list that a general YAML reader is asked about."""

_PLAIN = re.compile(
    r"^[ \t]*(?:-[ \t]+)?(?P<quote>['\"]?)(?P<suffix>\+\.)?"
    r"(?P<name>[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})+)(?P=quote)[ \t\r]*$",
    re.MULTILINE,
)
_ITEM = re.compile(
    r"""\s*-\s+(?:'(?P<single>[^']*)'|"(?P<double>[^"\\]*)"|(?P<plain>[^'"\[{&*!|>%@`#\s](?:[^#]|(?<!\s)\#)*))\s*(?:\#.*)?"""
)
_NOTE = re.compile(r"\s+(?:#|//|;).*$")
_KEY = re.compile(r"\s*[A-Za-z][\w-]*:(\s.*)?$")
_LONGEST_NAME = 253


class ListEntry(NamedTuple):
    """One entry of a list."""

    text: str
    number: int
    """Its line, from 1; 0 for a plain name, for which nobody asks."""
    is_plain: bool = False
    """True if it is a name in the form in which names are compared."""
    is_suffix: bool = False
    """True if a plain name had `+.` in front, which `text` is without."""


def entries(text: str, file: str, *, names: bool) -> Iterator[ListEntry]:
    """The entries of a list; `names` for one of names, whose plain ones are then marked.

    Raises LocalError for YAML that is none, or has no payload.
    """
    text = text.removeprefix("\ufeff")
    if _is_yaml(text):
        return _yaml_entries(text, file, names)
    return _fast(text, 0, 1, names, yaml_items=False)


def is_note(text: str) -> bool:
    """Return True if a line says nothing."""
    text = text.lstrip()
    return not text or text[0] in "#;" or text.startswith(("//", "---"))


def _is_yaml(text: str) -> bool:
    for line in text.splitlines() if len(text) < 10_000 else text[:10_000].splitlines():
        if not is_note(line):
            return bool(_KEY.match(line)) and re.search(r"^\s*payload:", text[:100_000], re.MULTILINE) is not None
    return False


def _yaml_entries(text: str, file: str, names: bool) -> Iterator[ListEntry]:
    begin = re.search(r"^[ \t]*payload:[ \t]*(#[^\n]*)?\r?$", text, re.MULTILINE)
    if begin is None or _has_other_keys(text, begin):
        yield from _general(text, file)
        return
    at = min(begin.end() + 1, len(text))
    yield from _fast(text, at, text.count("\n", 0, at) + 1, names, yaml_items=True)


def _has_other_keys(text: str, begin: re.Match[str]) -> bool:
    """Return True if lines around the items are more than notes: then it takes a general reader."""
    before = any(not is_note(line) for line in text[: begin.start()].splitlines())
    return before or re.search(r"^[ \t]*[A-Za-z][\w-]*:([ \t]|\r?$)", text[begin.end() :], re.MULTILINE) is not None


def _fast(text: str, start: int, number: int, names: bool, *, yaml_items: bool) -> Iterator[ListEntry]:
    at = start
    for match in _PLAIN.finditer(text, start) if names else ():
        if match.start() > at:
            gap = text[at : match.start()]
            yield from _slow(gap, text, at, start, number, yaml_items)
        name = match["name"]
        if len(name) > _LONGEST_NAME or (yaml_items and "-" not in text[match.start() : match.start("name")]):
            yield from _slow(match[0], text, match.start(), start, number, yaml_items)
        else:
            yield ListEntry(name, 0, True, match["suffix"] is not None)
        at = match.end() + 1
    if at < len(text):
        yield from _slow(text[at:], text, at, start, number, yaml_items)


def _slow(part: str, text: str, at: int, start: int, number: int, yaml_items: bool) -> Iterator[ListEntry]:
    """The entries of lines that are more than plain names."""
    line_number: int | None = None
    for offset, line in enumerate(part.split("\n")):
        if is_note(line):
            continue
        if line_number is None:
            line_number = number + text.count("\n", start, at)
        if not yaml_items:
            yield ListEntry(_NOTE.sub("", line).strip().strip("'\""), line_number + offset)
            continue
        item = _ITEM.fullmatch(line.rstrip("\r"))
        if item is None:
            yield ListEntry(line.strip(), line_number + offset)
            continue
        found = next(value for value in item.groups() if value is not None).strip()
        if found:
            yield ListEntry(found, line_number + offset)


def _general(text: str, file: str) -> Iterator[ListEntry]:
    """The payload as a YAML reader finds it. Raises LocalError."""
    if len(text) > MOST_YAML:
        raise LocalError(f"{file}: a list this long is read as text, or as payload: with one '- item' a line")
    try:
        node = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}:{mark.line + 1}" if mark is not None else file
        raise LocalError(f"{place}: not valid YAML: {' '.join(str(error).split())[:200]}") from None
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if isinstance(key, yaml.ScalarNode) and key.value == "payload":
            if not isinstance(value, yaml.SequenceNode):
                raise LocalError(f"{file}:{key.start_mark.line + 1}: payload is a list: one '- item' a line, or [a, b]")
            for item in value.value:
                start, end = item.start_mark, item.end_mark
                found = item.value if isinstance(item, yaml.ScalarNode) else text[start.index : end.index]
                if str(found).strip():  # a list or a mapping is nothing that its reader understands, which tells so
                    yield ListEntry(str(found).strip(), start.line + 1)
            return
    raise LocalError(f"{file}: a list in YAML has the key payload")
