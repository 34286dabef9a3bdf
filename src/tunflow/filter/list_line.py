"""One line of a block list: hosts files, plain domains and URLs, and the network rules of Adblock and AdGuard.

What a line can be:

| line | meaning |
|---|---|
| `0.0.0.0 name [name…]` (hosts file) | these names, and no others |
| `example.com`, `*.example.com` | the name and everything below it; below it only |
| `example.com/path`, `http://example.com/path` | URLs of that host that start so |
| `\\|\\|example.com^` | the name and everything below it |
| `\\|\\|example.com/a*b`, `\\|http://…`, `-banner-`, `/regex/` | URLs, in Adblock's pattern syntax |
| `@@…` | an exception |
| `…$important` | stronger than an exception |

A tunnel does not see which page asked, nor what for: rules that depend on that (`$third-party`, `$domain=`, `$script`
and the like), and rules about what a page shows (`##`, `#@#`, `#?#`, `$$`), are `Unsupported`, and said to be. What is
none of all this is `Broken`.

Read first: hosts(5); https://help.adblockplus.org/hc/en-us/articles/360062733293 (filters); AdGuard's and AdGuard
Home's filter syntax.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

from tunflow.rules.domains import normalise

BLOCK = 0
EXCEPT = 1
IMPORTANT = 2
"""Bits of a rule's strength; `EXCEPT | IMPORTANT` is an exception that beats an important block."""


@dataclass(frozen=True, slots=True)
class DomainRule:
    """A name in normal form; `below` and `itself` say which names it stands for."""

    name: str
    strength: int = BLOCK
    itself: bool = True
    below: bool = True


@dataclass(frozen=True, slots=True)
class URLRule:
    """A pattern for whole URLs: Adblock's syntax, or a regular expression between slashes."""

    pattern: str
    strength: int = BLOCK
    match_case: bool = False


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A rule that is understood and cannot be kept here; `why` in words."""

    why: str


@dataclass(frozen=True, slots=True)
class Broken:
    """Not a rule at all; `why` in words."""

    why: str


Line = DomainRule | URLRule | Unsupported | Broken

_COSMETIC = re.compile(r"#[@?$%]{0,3}#|\$@?\$")
_ANCHORED = re.compile(r"\|\|([a-zA-Z0-9*._-]+)\^?\|?")
_NAME = re.compile(r"(?:\*\.)?[^\s/:*|^@$#,;!]+\.?")
_LOCAL_NAMES = frozenset(
    ("localhost", "localhost.localdomain", "local", "broadcasthost", "ip6-localhost", "ip6-loopback", "ip6-localnet",
     "ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters", "ip6-allhosts")
)  # fmt: skip
_HARMLESS = frozenset(
    ("all", "document", "doc", "popup", "important", "match-case", "first-party", "1p", "~third-party")
)
"""Options that a whole host's or URL's rule keeps its meaning with."""
_OPTION = re.compile(r"~?[a-z][a-z0-9_-]*(?:=.*)?", re.DOTALL)


def parse_line(text: str) -> list[Line]:
    """The rules of a line; none for an empty line or a comment."""
    text = text.strip()
    if not text or text[0] == "!" or (text[0] == "[" and text[-1] == "]"):
        return []
    if text[0] == "#" and not text.startswith(("##", "#@#", "#?#", "#$#", "#%#")):
        return []
    if _COSMETIC.search(text) and "/" not in text.split("#", 1)[0][:1]:
        return [Unsupported("about what a page shows")]
    first, _, rest = text.partition(" ") if " " in text else text.partition("\t")
    if rest:
        return _parse_hosts(first, rest)
    return [_parse_rule(text)]


def _parse_hosts(first: str, rest: str) -> list[Line]:
    names = rest.partition("#")[0].split()
    try:
        ip_address(first.partition("%")[0])
    except ValueError:
        if not names:  # a domain with a comment behind it
            return [_parse_rule(first)]
        return [Broken("blanks inside a rule")]
    return [_domain(name, below=False) for name in names if name not in _LOCAL_NAMES and name != first]


def _parse_rule(text: str) -> Line:
    strength = BLOCK
    if text.startswith("@@"):
        strength, text = EXCEPT, text[2:]
    pattern, options = _split_options(text)
    match_case = False
    for option in options:
        if option == "important":
            strength |= IMPORTANT
        elif option == "match-case":
            match_case = True
        elif not _OPTION.fullmatch(option):
            return Broken(f"option {option[:40]!r}")
        elif option not in _HARMLESS:
            return Unsupported(f"depends on ${option.partition('=')[0]}")
    anchored = _ANCHORED.fullmatch(pattern)
    if anchored and pattern.rstrip("|").endswith(("^", anchored[1])):
        name = anchored[1]
        if "*" not in name.removeprefix("*."):
            return _domain(name, strength=strength)
    if strength == BLOCK and not options and _NAME.fullmatch(pattern) and "." in pattern.rstrip("."):
        return _domain(pattern)
    return _url(pattern, strength, match_case)


def _split_options(text: str) -> tuple[str, list[str]]:
    """The pattern, and the options behind the last `$` that can begin them."""
    if text.startswith("/") and text.endswith("/") and len(text) > 1:
        return text, []
    at = text.rfind("$")
    if at <= 0 or not re.match(r"~?[a-z]", text[at + 1 :]):
        return text, []
    return text[:at], text[at + 1 :].split(",")


def _domain(name: str, *, strength: int = BLOCK, below: bool = True) -> Line:
    itself = True
    if name.startswith("*."):
        name, itself = name[2:], False
    try:
        return DomainRule(normalise(name), strength, itself, below)
    except ValueError as error:
        return Broken(f"{name[:80]!r} is not a host name: {error}")


def _url(pattern: str, strength: int, match_case: bool) -> Line:
    if len(pattern) > 2 and pattern.startswith("/") and pattern.endswith("/"):
        try:
            re.compile(pattern[1:-1])
        except re.error as error:
            return Broken(f"not a regular expression: {error}")
        return URLRule(pattern, strength, match_case)
    if re.fullmatch(r"https?://\S+", pattern):
        return URLRule("|" + pattern, strength, match_case)
    if re.fullmatch(r"[\w-]+(\.[\w-]+)+(:\d+)?/\S*", pattern):
        return URLRule("||" + pattern, strength, match_case)
    if len(pattern.strip("*|^")) < 3:
        return Broken(f"the pattern {pattern[:40]!r} would match nearly everything")
    return URLRule(pattern, strength, match_case)
