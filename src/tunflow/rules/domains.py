"""Sets of host names: exact names, suffixes and keywords, fast to ask whatever their size.

Rules:
- A name is compared in one form: lower case, without a trailing dot, labels in ASCII (IDNA 2008 with the mapping of
  UTS #46, as browsers do it). `normalise` makes that form; `contains` and `match` take it as given.
- A suffix matches itself and every name below it, at label borders only: `example.com` matches `a.example.com` and not
  `badexample.com`. It costs one dictionary lookup per label.
- A keyword matches anywhere in the name.

Read first: RFC 1035 §2.3.1 and §2.3.4, RFC 2181 §11 (any octets are legal in a label; so `_` is), RFC 5891, UTS #46.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from typing import NamedTuple

LONGEST_NAME = 253
"""RFC 1035 §2.3.4: 255 octets with the length of the first label and the root."""

LONGEST_LABEL = 63
_FORBIDDEN = frozenset("/\\:@,;\"'()<>[]{}|") | frozenset(map(chr, (*range(0x21), 0x7F)))
_is_plain = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*").fullmatch
"""True if a name is in the form in which names are compared, as nearly all of a long list are."""


def normalise(name: str) -> str:
    """The form in which names are compared. Raises ValueError, with a reason fit for a user."""
    if len(name) <= LONGEST_NAME and _is_plain(name):
        return name
    name = name.rstrip(".")
    if not name.isascii():
        name = _to_ascii(name)
    name = name.lower()
    if not name or len(name) > LONGEST_NAME:
        raise ValueError("a name has 1 to 253 characters")
    if ".." in name or name[0] == ".":
        raise ValueError("a label is empty")
    if len(name) > LONGEST_LABEL and any(len(label) > LONGEST_LABEL for label in name.split(".")):
        raise ValueError("a label has at most 63 characters")
    if not _FORBIDDEN.isdisjoint(name):
        raise ValueError("a character that no name has")
    return name


def _to_ascii(name: str) -> str:
    import idna  # noqa: PLC0415 (2 MB that few need)

    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise ValueError(f"not a name by IDNA: {error}") from error


def suffixes(name: str) -> Iterator[str]:
    """The name itself and every domain above it, longest first."""
    yield name
    at = name.find(".")
    while at >= 0:
        name = name[at + 1 :]
        yield name
        at = name.find(".")


class Match(NamedTuple):
    """Why a name is in a set."""

    kind: str
    """`exact`, `suffix` or `keyword`."""
    value: str


class DomainSet:
    """Names, suffixes and keywords, all as `normalise` makes them; immutable.

    Sets that are given are kept and not copied: a copy of a long list costs as much as the list. Raises ValueError for
    an empty keyword, which would be in every name.
    """

    __slots__ = ("exact", "keywords", "suffixes")

    def __init__(self, exact: Iterable[str] = (), suffixes: Iterable[str] = (), keywords: Iterable[str] = ()) -> None:
        self.exact: Set[str] = exact if isinstance(exact, Set) else frozenset(exact)
        self.suffixes: Set[str] = suffixes if isinstance(suffixes, Set) else frozenset(suffixes)
        self.keywords = tuple(dict.fromkeys(keywords))
        if "" in self.keywords:
            raise ValueError("an empty keyword would be in every name")

    def __len__(self) -> int:
        return len(self.exact) + len(self.suffixes) + len(self.keywords)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DomainSet) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def _parts(self) -> tuple[frozenset[str], frozenset[str], tuple[str, ...]]:
        return frozenset(self.exact), frozenset(self.suffixes), self.keywords

    def __contains__(self, name: str) -> bool:
        if name in self.exact:
            return True
        known = self.suffixes
        if known:
            part = name
            while part not in known:
                at = part.find(".")
                if at < 0:
                    break
                part = part[at + 1 :]
            else:
                return True
        return any(keyword in name for keyword in self.keywords)

    def match(self, name: str) -> Match | None:
        """Why `name` is in the set: the exact name, else the longest suffix, else the first keyword."""
        if name in self.exact:
            return Match("exact", name)
        for suffix in suffixes(name):
            if suffix in self.suffixes:
                return Match("suffix", suffix)
        return next((Match("keyword", keyword) for keyword in self.keywords if keyword in name), None)

    def __or__(self, other: DomainSet) -> DomainSet:
        return DomainSet(self.exact | other.exact, self.suffixes | other.suffixes, (*self.keywords, *other.keywords))
