"""One line of a block list: hosts files, plain domains and URLs, and the network rules of Adblock and AdGuard.

What a line can be:

| line | meaning |
|---|---|
| `0.0.0.0 name [name…]` (hosts file) | these names, and no others |
| `example.com`, `*.example.com` | the name and everything below it; below it only |
| `192.0.2.1`, `2001:db8::1` | the address |
| `example.com/path`, `http://example.com/path` | URLs of that host that start so |
| `http://example.com/`, `https://example.com` | the name |
| `\\|\\|example.com^`, `\\|example.com^` | the name and everything below it; the name |
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
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address

from tunflow.addresses import ip_address, ip_network
from tunflow.filter.wildcard import LONGEST_PATTERN, MOST_SEPARATORS
from tunflow.rules.domains import normalise
from tunflow.rules.expression_syntax import NotKept, parse_expression
from tunflow.sniff.url_form import target_text

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

_COSMETIC = re.compile(r"(?<!\s)#[@?$%]{0,3}#|\$@?\$")
_ANCHORED = re.compile(r"(\|\|?)([\w*.-]+|\[?[0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F:.]*\]?)\^?\|?")
_SITE = re.compile(r"\|?https?://([^\s/:*|^@$?#]+|\[[0-9a-fA-F:.]+\])/?\^?\|?", re.IGNORECASE)
_HOST_PART = re.compile(r"(\|\||\|http://)([^\s/:*|^@$?#]+)", re.IGNORECASE)
_NO_URL = re.compile('[\\s\\x00-\\x1f\\x7f<>"`\ufffd]')
_DNSMASQ = re.compile(r"(?:address|server|local|ipset|nftset)=/")
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
    if not text or text[0] == "!" or (text[0] == "[" and text[-1] == "]" and _address(text) is None):
        return []
    if text[0] == "#" and not text.startswith(("##", "#@#", "#?#", "#$#", "#%#")):
        return []
    if _COSMETIC.search(text) and "/" not in text.split("#", 1)[0][:1]:
        return [Unsupported("about what a page shows")]
    words = text.split(None, 1)
    if len(words) > 1:
        return _parse_hosts(*words)
    return [_parse_rule(text)]


def _parse_hosts(first: str, rest: str) -> list[Line]:
    names = rest.partition("#")[0].split()
    if not _begins_hosts_line(first):
        if not names:  # a domain with a comment behind it
            return [_parse_rule(first)]
        return [Broken("blanks inside a rule")]
    return [_domain(name, below=False) for name in names if name not in _LOCAL_NAMES and name != first]


@lru_cache(maxsize=64)
def _begins_hosts_line(word: str) -> bool:
    """Whether it is an address; they are few, and nearly always the same."""
    return _address(word.partition("%")[0]) is not None


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
    if anchored and (anchored[1] == "||" or pattern[-1] in "^|") and "*" not in anchored[2].removeprefix("*."):
        return _domain(anchored[2], strength=strength, below=anchored[1] == "||")
    site = _SITE.fullmatch(pattern)
    if site is not None:
        return _domain(site[1], strength=strength, below=False)
    if strength == BLOCK and not options and _NAME.fullmatch(pattern) and "." in pattern.rstrip("."):
        return _domain(pattern)
    if ":" in pattern and _address(pattern) is not None:
        return _domain(pattern, strength=strength)
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
    address = _address(name) if ":" in name else None  # an IPv4 address is a name to all intents
    if address is not None:
        return DomainRule(address, strength, itself, below)
    try:
        return DomainRule(normalise(name), strength, itself, below)
    except ValueError as error:
        return Broken(f"{name[:80]!r} is not a host name: {error}")


def _url(pattern: str, strength: int, match_case: bool) -> Line:
    if len(pattern) > 2 and pattern.startswith("/") and pattern.endswith("/"):
        try:
            parse_expression(pattern[1:-1])
        except NotKept as error:
            return Unsupported(f"a regular expression with {error}")
        except ValueError as error:
            return Broken(f"not a regular expression: {error}")
        return URLRule(pattern, strength, match_case)
    if len(pattern) > LONGEST_PATTERN:
        return Broken(f"a pattern of more than {LONGEST_PATTERN} characters")
    if "^" * (MOST_SEPARATORS + 1) in pattern:
        return Broken(f"more than {MOST_SEPARATORS} separators behind one another")
    if _NO_URL.search(pattern):
        return Broken("a character that no URL has")
    if _DNSMASQ.match(pattern):
        return Broken("dnsmasq's configuration")
    if pattern.removeprefix("|").lower().startswith("https://"):
        return Unsupported("about more of an https:// URL than its host")
    if pattern.lower().startswith("http://"):
        pattern = "|" + pattern
    elif re.fullmatch(r"[\w-]+(\.[\w-]+)+(:\d+)?/\S*", pattern):
        if _is_network(pattern):
            return Broken("a network of addresses: only single ones can be listed")
        pattern = "||" + pattern
    elif len(pattern.strip("*|^")) < 3:
        return Broken(f"the pattern {pattern[:40]!r} would match nearly everything")
    return URLRule(pattern if pattern.isascii() else _in_ascii(pattern), strength, match_case)


def _in_ascii(pattern: str) -> str:
    """A pattern as URLs have it: the name in its IDNA form, all else with percent signs."""
    host = _HOST_PART.match(pattern)
    if host is not None:
        with suppress(ValueError):
            pattern = host[1] + normalise(host[2]) + pattern[host.end() :]
    return target_text(pattern.encode(errors="replace"))


def _address(text: str) -> str | None:
    """An address in its usual spelling; None for what is none."""
    try:
        address = ip_address(text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True
