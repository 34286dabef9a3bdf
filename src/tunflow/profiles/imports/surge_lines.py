"""The lines of a Surge configuration: sections, `NAME = VALUE, …, key=value`, notes.

Read first: https://manual.nssurge.com (Overview, Proxy Policy, Policy Group, Rule, Local DNS Mapping, URL Rewrite).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from tunflow.errors import LocalError
from tunflow.single_values import TwoValues, put

_SECTION = re.compile(r"\[([^\]\n]{1,80})\]\s*")
_NOTE = re.compile(r"\s+//(?:\s.*)?$")
_FIELD = re.compile(r'([^,"]*(?:"[^"]*"[^,"]*)*)(?:,|$)')
_OPTION = re.compile(r"([A-Za-z][\w-]*)\s*=(?!=*$)\s*(.*)", re.DOTALL)
"""Not base64, which ends with `=`."""
_LOOKS = re.compile(rb"^[^\S\n]*\[(?:Proxy|Proxy Group|General|Rule)\]", re.MULTILINE)
_OTHERS = re.compile(rb"^[^\S\n]*\[(?:server_local|Interface|Remote Proxy|Remote Rule)\]", re.MULTILINE)


class ConfLine(NamedTuple):
    """A line that says something."""

    number: int
    """From 1."""
    text: str


def looks_like_surge(content: bytes) -> bool:
    """Return True if a file looks like a configuration of Surge, or of a program that reads those."""
    head = content[: 1 << 20]
    return _LOOKS.search(head) is not None and _OTHERS.search(head) is None


def sections(text: str) -> dict[str, list[ConfLine]]:
    """The lines of each section, without notes; what stands before the first is in ""."""
    found: dict[str, list[ConfLine]] = {}
    name = ""
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if (section := _SECTION.fullmatch(bare)) is not None:
            name = section[1].strip()
            found.setdefault(name, [])
        elif bare.startswith("#!") or (bare and bare[0] not in "#;" and not bare.startswith("//")):
            found.setdefault(name, []).append(ConfLine(number, _NOTE.sub("", bare)))
    return found


def name_and_value(text: str) -> tuple[str, str]:
    """`NAME = VALUE`, both without blanks around; the value is empty where there is none."""
    name, _, value = text.partition("=")
    return name.strip(), value.strip()


def fields(text: str) -> Iterator[str]:
    """What stands between commas, except within quotes, without blanks and the quotes around it."""
    at = 0
    while at < len(text):
        match = _FIELD.match(text, at)
        if match is None:  # a quote without an end
            yield text[at:].strip()
            return
        at = match.end()
        yield match[1].strip()


def unquoted(text: str) -> str:
    """A value without the quotes around it."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def split_options(values: Iterator[str]) -> tuple[list[str], dict[str, str]]:
    """Values in their order, and the options `key=value` among them. Raises LocalError for one with two values."""
    plain: list[str] = []
    options: dict[str, str] = {}
    for value in values:
        match = _OPTION.fullmatch(value)
        if match is not None:
            try:
                put(options, match[1].lower(), unquoted(match[2].strip()))
            except TwoValues as error:
                raise LocalError(str(error)) from None
        elif value:
            plain.append(unquoted(value))
    return plain, options
