"""An OpenVPN configuration as lines: words with their quotes off, blocks with their text, each with its line number.

Read first: openvpn(8), "Including files in the config" and "inline files".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tunflow.errors import LocalError
from tunflow.protocols.openvpn.directives import CONNECTION, DIRECTIVES, INLINE
from tunflow.protocols.openvpn.tunnel_options import Fate

LARGEST = 1 << 20
"""Bytes; a larger file is no configuration."""
_LOOKS = re.compile(
    rb"^[ \t]*(client|tls-client|remote[ \t]+\S+|dev[ \t]+tun|server[ \t]+[\d.]+[ \t]+[\d.]+)\b", re.MULTILINE
)
_CERTAIN = re.compile(
    rb"^[ \t]*(<(ca|cert|key|tls-auth|tls-crypt|tls-crypt-v2)>|dev[ \t]+tun|ca[ \t]+\S+)", re.MULTILINE
)


class Line(NamedTuple):
    """A directive. `text` is what stands in its block, None when it is none."""

    number: int
    words: tuple[str, ...]
    text: str | None = None
    connection: int = 0
    """Which `<connection>` block it stands in; 0 for none."""

    @property
    def name(self) -> str:
        """The directive."""
        return self.words[0]


def looks_like_openvpn(content: bytes) -> bool:
    """Return True if a file is an OpenVPN configuration by its looks."""
    return _LOOKS.search(content) is not None and _CERTAIN.search(content) is not None


def split_words(row: str) -> list[str]:
    """The words of a row. Backslashes escape, single quotes do not let them. Raises ValueError."""
    words: list[str] = []
    word, quote, started = "", "", False
    characters = iter(row)
    for character in characters:
        if character == "\\" and quote != "'":
            escaped = next(characters, None)
            if escaped is None:
                raise ValueError("a backslash at the end of the line")
            word += escaped
            started = True
        elif quote:
            quote, word = ("", word) if character == quote else (quote, word + character)
        elif character in "\"'":
            quote, started = character, True
        elif character in "#;" and not (started or word):
            break
        elif character.isspace():
            if started or word:
                words.append(word)
            word, started = "", False
        else:
            word += character
    if quote:
        raise ValueError("a quotation mark that does not end")
    return [*words, word] if started or word else words


class ConfigFile:
    """The checked lines of a file, and what in it changes nothing."""

    def __init__(self, content: bytes, name: str) -> None:
        """Raises LocalError that begins with `name:line`."""
        self.name = name
        if len(content) > LARGEST:
            raise LocalError(f"{name}: more than {LARGEST} bytes is no OpenVPN configuration")
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            number = content.count(b"\n", 0, error.start) + 1
            raise LocalError(f"{name}:{number}: is not text in UTF-8") from None
        lines = list(self._read(text.splitlines()))
        ignored = {word for line in lines if line.name == "ignore-unknown-option" for word in line.words[1:]}
        self.told: list[str] = []
        """Directives that change nothing, with their places, for the user."""
        unwrapped = (each for line in lines for each in self._unwrapped(line))
        self.lines = [line for line in unwrapped if self._is_done(line, ignored)]

    def wrong(self, line: Line, why: str) -> LocalError:
        """An error about a line."""
        return LocalError(f"{self.name}:{line.number}: {line.name}: {why}")

    def _read(self, rows: list[str]) -> Iterator[Line]:
        block: list[str] = []
        inside, start, connection, connections = "", 0, 0, 0
        for number, row in enumerate(rows, 1):
            stripped = row.strip()
            if inside:
                if stripped == f"</{inside}>":
                    yield Line(start, (inside,), "\n".join(block) + "\n")
                    inside = ""
                else:
                    block.append(row)
            elif stripped == "</connection>" and connection:
                connection = 0
            elif stripped.startswith("<") and stripped.endswith(">"):
                name = stripped[1:-1]
                if name not in INLINE or connection:
                    raise LocalError(f"{self.name}:{number}: {stripped} is no block that is known here")
                if name == "connection":
                    connections += 1
                    connection, start = connections, number
                else:
                    inside, start, block = name, number, []
            elif words := self._words(stripped, number):
                if connection and words[0] not in CONNECTION:
                    raise LocalError(f"{self.name}:{number}: {words[0]} cannot stand in a <connection> block")
                yield Line(number, tuple(words), None, connection)
        if inside or connection:
            raise LocalError(f"{self.name}:{start}: <{inside or 'connection'}> does not end")

    def _words(self, row: str, number: int) -> list[str]:
        try:
            return split_words(row)
        except ValueError as error:
            raise LocalError(f"{self.name}:{number}: {error}") from None

    def _unwrapped(self, line: Line) -> Iterator[Line]:
        """`--name` as `name`; `setenv opt NAME …` as `NAME …` where that is known; `NAME [inline]`, which a block
        elsewhere makes good, as nothing but its key-direction."""
        words = (line.words[0].removeprefix("--"), *line.words[1:])
        if words[:2] == ("setenv", "opt") and len(words) > 2 and words[2] in DIRECTIVES:
            words = words[2:]
        if words[1:2] != ("[inline]",):
            yield line._replace(words=words)
        elif len(words) > 2:
            yield line._replace(words=("key-direction", words[2]))

    def _is_done(self, line: Line, ignored: Iterable[str]) -> bool:
        """Return True if the line is to be done. Raises LocalError for a refused or unknown one."""
        found = DIRECTIVES.get(line.name)
        if found is None:
            if line.name in ignored:
                self.told.append(f"{self.name}:{line.number}: {line.name} is not known and ignored, as the file says")
                return False
            raise self.wrong(line, "this directive is not known")
        if found.fate is Fate.REFUSED:
            raise self.wrong(line, f"refused: {found.note}")
        if found.fate is Fate.TOLD:
            self.told.append(f"{self.name}:{line.number}: {line.name} changes nothing here")
            return False
        given = len(line.words) - 1
        if line.text is None and not found.least <= given <= found.most:
            wanted = str(found.least) if found.least == found.most else f"{found.least} to {found.most}"
            raise self.wrong(line, f"expected {wanted} words behind it, found {given}")
        return True
