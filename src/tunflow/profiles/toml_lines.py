"""Where each key of a TOML document stands, so that an error can name the line.

`tomllib` tells no positions. This scanner reads documents that tomllib has accepted already, so it checks nothing.
Read first: https://toml.io/en/v1.0.0
"""

from __future__ import annotations

import re
import tomllib

Key = tuple[str | int, ...]
"""A key with all tables and list positions in front of it: `("servers", "home", "url")`, `("rules", 3)`."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_PART = re.compile(r"""[ \t]*("(?:\\.|[^"\\])*"|'[^']*'|[A-Za-z0-9_-]+)[ \t]*""")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' "|" r"'''.*?'{3,5}" "|" r'"(?:\\.|[^"\\])*"' "|" r"'[^']*'",
    re.DOTALL,
)
_BARE = re.compile(r"[^,\]}#\n]*")


def lines_of(text: str) -> dict[Key, int]:
    """The line, counted from 1, of every table, key and list item in a valid document."""
    return _Scanner(text).scan()


class _Scanner:
    """Walks through the text once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lines: dict[Key, int] = {}
        self._counted = (0, 1)
        self._tables: dict[Key, int] = {}
        """How many tables each list of tables has so far."""

    def scan(self) -> dict[Key, int]:
        table: Key = ()
        while self._skip_blank():
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)
        return self._lines

    def _skip_blank(self) -> bool:
        """Return True if there is anything more."""
        match = _BLANK.match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        return self._at < len(self._text)

    def _note(self, key: Key) -> None:
        before, line = self._counted
        line += self._text.count("\n", before, self._at)
        self._counted = (self._at, line)
        self._lines.setdefault(key, line)

    def _header(self) -> Key:
        is_list = self._text.startswith("[[", self._at)
        start = self._at
        self._at += 2 if is_list else 1
        parts = self._parts()
        end, self._at = self._at, start
        key: Key = ()
        for number, part in enumerate(parts):
            key = (*key, part)
            if is_list and number == len(parts) - 1:
                self._tables[key] = self._tables.get(key, 0) + 1
                self._note(key)
            if key in self._tables:
                key = (*key, self._tables[key] - 1)
            self._note(key)
        self._at = end + (2 if is_list else 1)
        return key

    def _parts(self) -> list[str]:
        parts = []
        while True:
            match = _PART.match(self._text, self._at)
            assert match is not None, "not valid TOML"
            self._at = match.end()
            part = match[1]
            parts.append(next(iter(tomllib.loads(f"{part}=0"))) if part[0] in "\"'" else part)
            if not self._text.startswith(".", self._at):
                return parts
            self._at += 1

    def _pair(self, table: Key) -> None:
        start = self._at
        parts = self._parts()
        end, self._at = self._at, start
        key = table
        for part in parts:
            key = (*key, part)
            self._note(key)
        self._at = end + 1
        self._value(key)

    def _value(self, key: Key) -> None:
        self._skip_blank()
        first = self._text[self._at]
        if first == "[":
            self._items(key)
        elif first == "{":
            self._at += 1
            while self._skip_blank() and self._text[self._at] != "}":
                self._pair(key)
                self._skip_blank()
                self._at += self._text[self._at] == ","
            self._at += 1
        else:
            match = (_STRING if first in "\"'" else _BARE).match(self._text, self._at)
            assert match is not None, "not valid TOML"
            self._at = match.end()

    def _items(self, key: Key) -> None:
        self._at += 1
        number = 0
        while self._skip_blank() and self._text[self._at] != "]":
            self._note((*key, number))
            self._value((*key, number))
            self._skip_blank()
            self._at += self._text[self._at] == ","
            number += 1
        self._at += 1
