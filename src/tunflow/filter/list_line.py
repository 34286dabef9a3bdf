"""One line of a block list: hosts files, plain domains and URLs, and the network rules of Adblock and AdGuard.

What a line can be:

| line | meaning |
|---|---|
| `0.0.0.0 name [name…]` (hosts file) | these names, and no others |
| `example.com`, `*.example.com` | the name and everything below it; below it only, unless all lines are such |
| `.example.com` | Squid's name and everything below it, or a part of URLs: which, the whole list says |
| `192.0.2.1`, `2001:db8::1` | the address |
| `example.com/path`, `http://example.com/path` | URLs of that host that start so |
| `http://example.com/`, `https://example.com` | the name |
| `\\|\\|example.com^`, `\\|example.com^` | the name and everything below it; the name |
| `\\|\\|example.`, `\\|\\|example.com/a*b`, `\\|http://…`, `-banner-`, `/regex/` | URLs, in Adblock's pattern syntax |
| `@@…` | an exception |
| `…$important` | stronger than an exception |
| `…$denyallow=a.example\\|b.example` | not for these names and what is below them |
| `…$badfilter` | the same line without it counts for nothing |
| `…$client=`, `$ctag=`, `$dnstype=`, `$dnsrewrite=` | see `conditions` |
| `192.0.2.7 name` (hosts file) | the name is answered with that address |

A tunnel does not see which page asked, nor what for: rules that depend on that (`$third-party`, `$domain=`, `$script`
and the like), and rules about what a page shows (`##`, `#@#`, `#?#`, `$$`), are `Unsupported`, and said to be: none is
kept with a wider meaning than its own. (`$~image` and the like are kept where they block: of all but one type of
resource a name or URL is blocked for good.) What is none of all this is `Broken`; where it is the syntax of another
program, the reason names what works here.

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
from tunflow.filter.conditions import OPTIONS as CONDITIONS
from tunflow.filter.conditions import RuleConditions, address_answer, parse_conditions
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
    spared: tuple[str, ...] = ()
    """Names for which it does not hold, nor for those below them."""


@dataclass(frozen=True, slots=True)
class Dotted:
    """`.example.com`: what it means, the rest of the list says."""

    text: str


@dataclass(frozen=True, slots=True)
class ConditionalRule:
    """A rule that depends on more than a name or URL, or says what a name is answered with."""

    rule: DomainRule | URLRule
    conditions: RuleConditions


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A rule that counts for nothing, wherever it stands in the list."""

    rule: DomainRule | URLRule | ConditionalRule


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A rule that is understood and cannot be kept here; `why` in words."""

    why: str


@dataclass(frozen=True, slots=True)
class Broken:
    """Not a rule at all; `why` in words."""

    why: str


Line = DomainRule | URLRule | ConditionalRule | Dotted | Cancelled | Unsupported | Broken

PAGES = "about what a page shows"

LONGEST_LINE = 65536
"""Characters."""
TOO_LONG_LINE = f"longer than {LONGEST_LINE} characters"

_COSMETIC = re.compile(r"(?<!\s)#[@?$%]{0,3}#|\$@?\$")
_ANCHORED = re.compile(r"(\|\|?)([\w*.-]+|\[?[0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F:.]*\]?)(?:\^\|?|\|)")
_SITE = re.compile(r"\|?https?://([^\s/:*|^@$?#]+|\[[0-9a-fA-F:.]+\])/?\^?\|?", re.IGNORECASE)
_HOST_PART = re.compile(r"(\|\||\|http://)([^\s/:*|^@$?#]+)", re.IGNORECASE)
_HOST_AND_PATH = re.compile(r"[\w-]+(\.[\w-]+)+(:\d+)?/\S*")
_NO_URL = re.compile('[\\s\\x00-\\x1f\\x7f<>"`\ufffd]')
_NAME = re.compile(r"(?:\*\.)?[^\W_](?:[\w.-]*[^\W_])?\.?")
_DOTTED = re.compile(r"(?:\.[\w-]*[^\W_])+")
_LOCAL_NAMES = frozenset(
    ("localhost", "localhost.localdomain", "local", "broadcasthost", "ip6-localhost", "ip6-loopback", "ip6-localnet",
     "ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters", "ip6-allhosts")
)  # fmt: skip
_HARMLESS = frozenset(("all", "important", "match-case", "badfilter", "_", "noop"))
"""Options that a rule keeps its meaning with; `_` is there to be longer."""
_BUT_ONE = frozenset(
    ("~script", "~image", "~stylesheet", "~css", "~object", "~xmlhttprequest", "~xhr", "~subdocument", "~frame",
     "~ping", "~media", "~font", "~websocket", "~other", "~popup", "~document", "~doc")
)  # fmt: skip
_OPTION = re.compile(r"~?(?:[a-z][a-z0-9_-]*|_+)(?:=.*)?", re.DOTALL)
_VALUE_WITH_BLANKS = re.compile(r"\$(?:[^$\s]*,)?(?:client|ctag|dnsrewrite|csp|permissions|replace|header)=")
_COMMA = re.compile(r"(?<!\\),")
_NO_SUCH_NAME = frozenset(("dnsrewrite=NXDOMAIN", "dnsrewrite=NXDOMAIN;;", "dnsrewrite=NXDOMAIN;"))
_FOREIGN = (
    (re.compile(r"(?:address|server|local|ipset|nftset)=/([^/]*)/.*"), "dnsmasq's configuration"),
    (re.compile(r"(?:-\s*)?['\"]?(?:DOMAIN|DOMAIN-SUFFIX|HOST|HOST-SUFFIX),([^,'\"]+).*"), "a rule of Clash or Surge"),
    (re.compile(r"(?:-\s*)?['\"]?\+\.([^'\"\s]+)['\"]?|-\s+['\"]?([^'\"\s]+)['\"]?"), "a rule set of Clash"),
    (re.compile(r"(?:domain|full):([^\s:/]+)(?:[\s:].*)?"), "a list of Xray"),
    (re.compile(r"(?:keyword|regexp|include|geosite|ext):.*()"), "a list of Xray"),
    (
        re.compile(r"(?:payload:|(?:-\s*)?['\"]?(?:DOMAIN-KEYWORD|IP-CIDR6?|PROCESS-NAME|GEOIP),.*)()"),
        "a rule of Clash or Surge",
    ),
    (re.compile(r"local-(?:zone|data):\s*\"([^\"\s]+).*"), "Unbound's configuration"),
    (re.compile(r"zone\s+\"([^\"]+)\".*"), "BIND's configuration"),
    (re.compile(r"(?:\*\.)?([^\s;]+)\s+(?:\d+\s+)?(?:IN\s+)?CNAME\s+\S+"), "a response policy zone"),
)
_BARE_EXPRESSION = re.compile(r"\(\^\|\\\.\).*|\^.*\\\..*|.*\\\..*\$|\^\(.*|.*\[[^\]]*\][+*{].*")


def parse_line(text: str) -> list[Line]:
    """The rules of a line; none for an empty line or a comment."""
    text = text.strip()
    if not text or text[0] == "!" or (text[0] == "[" and text[-1] == "]" and _address(text) is None):
        return []
    if text[0] == "#" and not text.startswith(("##", "#@#", "#?#", "#$#", "#%#")):
        return []
    if ("#" in text or "$" in text) and _COSMETIC.search(text) and "/" not in text.split("#", 1)[0][:1]:
        return [Unsupported(PAGES)]
    if len(text) > LONGEST_LINE:
        return [Broken(TOO_LONG_LINE)]
    foreign = _foreign(text) if text[0] not in "|@" else None
    if foreign is not None:
        return [Broken(foreign)]
    words = text.split(None, 1)
    if len(words) > 1 and not _VALUE_WITH_BLANKS.search(text):
        return _parse_hosts(*words)
    return [_parse_rule(text)]


def _foreign(text: str) -> str | None:
    """Whose syntax it is, and how the same is said here; None for lines that may be ours."""
    for syntax, whose in _FOREIGN:
        found = syntax.fullmatch(text)
        if found is not None:
            name = next(filter(None, found.groups()), None)
            return f"{whose}: write ||{name.strip('.')}^" if name else f"{whose}: a list has names and patterns"
    if text[0] != "/" and _BARE_EXPRESSION.fullmatch(text) and " " not in text:
        return f"a regular expression stands between slashes: write /{text}/"
    return None


def _parse_hosts(first: str, rest: str) -> list[Line]:
    names = rest.partition("#")[0].split()
    kind = _begins_hosts_line(first)
    if kind is None:
        if not names:  # a domain with a comment behind it
            return [_parse_rule(first)]
        return [Broken("blanks inside a rule")]
    rules = [_domain(name, below=False) for name in names if name not in _LOCAL_NAMES and name != first]
    return rules if kind else [_with_address(rule, first) for rule in rules]


def _with_address(rule: Line, address: str) -> Line:
    if not isinstance(rule, DomainRule):
        return rule
    answer = address_answer(address.partition("%")[0])
    return ConditionalRule(rule, RuleConditions(answer=answer, rewrites=True))


@lru_cache(maxsize=64)
def _begins_hosts_line(word: str) -> bool | None:
    """Return True if it is an address where nobody is, as hosts files for blocking have; None for what is no address.

    They are few, and nearly always the same."""
    address = "0.0.0.0" if word == "0" else _address(word.partition("%")[0])  # noqa: S104 (not bound)
    if address is None:
        return None
    known = ip_address(address)
    return known.is_unspecified or known.is_loopback


def _parse_rule(text: str) -> Line:
    whole = text
    strength = BLOCK
    if text.startswith("@@"):
        strength, text = EXCEPT, text[2:]
    pattern, options = _split_options(text)
    spared: tuple[str, ...] = ()
    conditional = []
    for option in options:
        name = option.partition("=")[0]
        if option == "important":
            strength |= IMPORTANT
        elif not _OPTION.fullmatch(option):
            return Broken(f"option {option[:40]!r}")
        elif option.startswith("denyallow="):
            try:
                spared = tuple(normalise(name) for name in option[10:].split("|"))
            except ValueError as error:
                return Broken(f"{option[:80]!r}: {error}")
        elif option in _NO_SUCH_NAME and not strength & EXCEPT:
            continue
        elif name in CONDITIONS:
            conditional.append(option)
        elif option not in _HARMLESS and option.strip("_") and (strength & EXCEPT or option not in _BUT_ONE):
            return Unsupported(f"depends on ${name}")
    meaning = [option for option in options if option != "badfilter"]
    rule = _rule(pattern, strength, "match-case" in options, meaning, spared)
    if isinstance(rule, Dotted) and whole != pattern:
        rule = _url(pattern, strength, "match-case" in options)
    if conditional:
        rule = _conditional(rule, conditional)
    if "badfilter" in options:
        return Cancelled(rule) if isinstance(rule, DomainRule | URLRule | ConditionalRule) else rule
    return rule


def _conditional(rule: Line, options: list[str]) -> Line:
    if not isinstance(rule, DomainRule | URLRule):
        return rule
    try:
        conditions = parse_conditions(options, is_exception=bool(rule.strength & EXCEPT))
    except NotKept as error:
        return Unsupported(f"depends on {error}")
    except ValueError as error:
        return Broken(f"{','.join(options)[:80]!r}: {error}")
    return ConditionalRule(rule, conditions)


def _rule(pattern: str, strength: int, match_case: bool, options: list[str], spared: tuple[str, ...]) -> Line:
    if spared:
        return _url(pattern, strength, match_case, spared)
    plain = pattern[:-1] if pattern.endswith("^*") else pattern
    anchored = _ANCHORED.fullmatch(plain)
    if (
        anchored
        and not match_case
        and "*" not in anchored[2].removeprefix("*.")
        and anchored[2][-1] not in ".*"
        and anchored[2][0] != "."
    ):
        return _domain(anchored[2], strength=strength, below=anchored[1] == "||")
    site = _SITE.fullmatch(pattern)
    if site is not None and not _is_beginning(pattern, site[1]):
        return _domain(site[1], strength=strength, below=False)
    if strength == BLOCK and not options:
        if "." in pattern.rstrip(".") and _NAME.fullmatch(pattern):
            return _domain(pattern)
        if _DOTTED.fullmatch(pattern):
            return Dotted(pattern)
    if ":" in pattern and _address(pattern.removeprefix("||")) is not None:
        return _domain(pattern.removeprefix("||"), strength=strength)
    return _url(pattern, strength, match_case)


def _is_beginning(pattern: str, name: str) -> bool:
    """Return True if a pattern that names a site is surely only the beginning of one: `|http://ads.`."""
    return name[-1] == "." or (pattern[0] == "|" and pattern[-1] not in "/^|" and not set(".:") & set(name))


def _split_options(text: str) -> tuple[str, list[str]]:
    """The pattern, and the options behind the last `$` that can begin them."""
    if text.startswith("/") and text.endswith("/") and len(text) > 1:
        return text, []
    at = text.rfind("$")
    if at < 0 or not re.match(r"~?[a-z_]", text[at + 1 :]):
        return text, []
    return text[:at], [option.replace("\\,", ",") for option in _COMMA.split(text[at + 1 :])]


def _domain(name: str, *, strength: int = BLOCK, below: bool = True) -> Line:
    itself = True
    if name.startswith("*."):
        name, itself, below = name[2:], False, True
    address = _address(name) if ":" in name else None  # an IPv4 address is a name to all intents
    if address is not None:
        return DomainRule(address, strength, itself, below)
    try:
        return DomainRule(normalise(name), strength, itself, below)
    except ValueError as error:
        return Broken(f"{name[:80]!r} is not a host name: {error}")


def _url(pattern: str, strength: int, match_case: bool, spared: tuple[str, ...] = ()) -> Line:
    if len(pattern) > 2 and pattern.startswith("/") and pattern.endswith("/"):
        try:
            parse_expression(pattern[1:-1])
        except NotKept as error:
            return Unsupported(f"a regular expression with {error}")
        except ValueError as error:
            return Broken(f"not a regular expression: {error}")
        return URLRule(pattern, strength, match_case, spared)
    if len(pattern) > LONGEST_PATTERN:
        return Unsupported(f"longer than {LONGEST_PATTERN} characters")
    if "^" * (MOST_SEPARATORS + 1) in pattern:
        return Broken(f"more than {MOST_SEPARATORS} separators behind one another")
    if _NO_URL.search(pattern):
        return Broken("a character that no URL has")
    if pattern.removeprefix("|").lower().startswith("https://"):
        return Unsupported("about more of an https:// URL than its host")
    if pattern.lower().startswith("http://"):
        pattern = "|" + pattern
    elif pattern[:1] != "|" and _HOST_AND_PATH.fullmatch(pattern):
        if _is_network(pattern):
            return Broken("a network of addresses: only single ones can be listed")
        pattern = "||" + pattern
    elif len(pattern.strip("*|^")) < 3 and not spared:
        return Broken(f"the pattern {pattern[:40]!r} would match nearly everything")
    return URLRule(pattern if pattern.isascii() else _in_ascii(pattern), strength, match_case, spared)


def pattern_of(line: Dotted) -> Line:
    """What a line means where a dot in front of a name is a part of URLs."""
    return _url(line.text, BLOCK, match_case=False)


def name_of(line: Dotted) -> Line:
    """What it means where a dot in front of a name is the name and everything below it."""
    return _domain(line.text[1:])


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
