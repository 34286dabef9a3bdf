"""Rules of Xray's `routing` as conditions in our words, and its lists of names and addresses.

Read first: https://xtls.github.io/en/config/routing.html (RuleObject)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunflow.errors import LocalError
from tunflow.profiles.imports import keys
from tunflow.profiles.imports.draft import Draft
from tunflow.profiles.imports.draft_rules import DraftRules
from tunflow.profiles.sections.dns import check_names
from tunflow.rules.headless_rules import listed

FORMAT = "xray"
_DOMAINS = {
    "domain": "DOMAIN-SUFFIX",
    "full": "DOMAIN",
    "regexp": "DOMAIN-REGEX",
    "keyword": "DOMAIN-KEYWORD",
    "geosite": "GEOSITE",
}
_NEVER = ("user", "vlessRoute", "localIP", "localPort", "localOS")
_OURS = frozenset({"socks", "http", "mixed", "tun"})
"""Inbounds whose flows are what comes out of a TUN here."""
_CONDITIONS = (
    "domain",
    "domains",
    "ip",
    "port",
    "sourcePort",
    "source",
    "sourceIP",
    "network",
    "process",
    "inboundTag",
)
_OTHER_KEYS = ("outboundTag", "balancerTag", "type", "ruleTag", "domainMatcher", "webhook")
_SPOKEN = frozenset({*_NEVER, *_CONDITIONS, *_OTHER_KEYS})
_NOTHING: tuple[Any, ...] = (None, "", [], {})


class XrayConditions:
    """What rules are about, in one configuration."""

    def __init__(self, draft: Draft, data: Mapping[str, Any]) -> None:
        self._draft = draft
        routing = data.get("routing")
        strategy = routing.get("domainStrategy") if isinstance(routing, dict) else None
        self._strategy = str(strategy or "AsIs").lower()
        self._inbounds = {
            str(each.get("tag"))
            for each in listed(data.get("inbounds"))
            if isinstance(each, dict) and (str(each.get("protocol")) in _OURS or _is_transparent(each))
        }

    def passes(self) -> tuple[bool, ...]:
        """Which rounds of the rules there are: a second one, with names looked up, where the first finds nothing."""
        return (False, True) if self._strategy == "ipifnonmatch" else (False,)

    def of(self, rule: Mapping[str, Any], place: str, *, is_second: bool) -> str | None:
        """A rule's condition; empty for one that says nothing new in the second round, None for one that never holds.

        Raises LocalError for what has no equal here.
        """
        _check_keys(rule)
        if any(rule.get(key) not in _NOTHING for key in _NEVER):
            return None
        inbounds = listed(rule.get("inboundTag"))
        if inbounds and self._inbounds.isdisjoint(map(str, inbounds)):
            return None
        addresses = [str(each) for each in listed(rule.get("ip"))]
        if is_second and not addresses:
            return ""
        option = "" if is_second or self._strategy == "ipondemand" else ",no-resolve"
        label = f"{place} again" if is_second else place
        sources = listed(rule.get("sourceIP") or rule.get("source"))
        parts = [
            self._list(f"{label} domain", [_name(str(each)) for each in self._names(rule)]),
            self._list(f"{label} ip", [_address(each, option) for each in addresses]),
            _either("DST-PORT", _ports(rule.get("port"))),
            _either("SRC-PORT", _ports(rule.get("sourcePort"))),
            _either("NETWORK", _words(rule.get("network"))),
            self._list(f"{label} source", [_source(str(each)) for each in sources]),
            self._list(f"{label} process", [_process(str(each)) for each in listed(rule.get("process"))]),
        ]  # fmt: skip
        parts = [each for each in parts if each]
        if not parts and inbounds:
            return "OR,((NETWORK,tcp),(NETWORK,udp))"
        if not parts:
            raise LocalError("it has no condition")
        return parts[0] if len(parts) == 1 else f"AND,({','.join(f'({each})' for each in parts)})"

    def _names(self, rule: Mapping[str, Any]) -> list[Any]:
        return [*listed(rule.get("domain")), *listed(rule.get("domains"))]

    def _list(self, name: str, lines: list[str]) -> str:
        """Any of several conditions: a list of the profile's own where there are more than one."""
        if not lines:
            return ""
        if len(lines) == 1 and not lines[0].startswith("DOMAIN-REGEX"):
            return lines[0]
        return DraftRules(self._draft).take_list(name, lines)


def _check_keys(rule: Mapping[str, Any]) -> None:
    """Raises LocalError for a condition that nobody here knows."""
    known = keys.fates(FORMAT, "rule")
    for key, value in rule.items():
        if key not in _SPOKEN and value not in _NOTHING:
            why = f"is not supported: {known[key].words}" if key in known else "is not known"
            raise LocalError(f"{key} {why}")


def patterns(texts: list[Any]) -> list[str]:
    """Names as resolvers' lists here have them. Raises LocalError for those that are no pattern."""
    found = []
    for text in map(str, texts):
        kind, value = _kind(text)
        if kind not in {"DOMAIN", "DOMAIN-SUFFIX", "GEOSITE"}:
            raise LocalError(f"{text[:80]}: names for a resolver are domain:, full: and geosite:")
        name = {"DOMAIN": f"full:{value}", "GEOSITE": f"geosite:{value}"}.get(kind, value)
        try:
            check_names(name)
        except ValueError as error:
            raise LocalError(f"{text[:80]!r}: {error}") from None
        found.append(name)
    return found


def _kind(text: str) -> tuple[str, str]:
    kind, colon, value = text.partition(":")
    if not colon:
        return "DOMAIN-KEYWORD", text
    if kind not in _DOMAINS:
        raise LocalError(f"{text[:80]} is not supported; {', '.join(f'{each}:' for each in _DOMAINS)} are")
    return _DOMAINS[kind], value


def _name(text: str) -> str:
    return ",".join(_kind(text))


def _address(text: str, option: str) -> str:
    """One entry of `ip`; `!` in front of it, or of a country, means all others."""
    bare = text.removeprefix("!").replace("geoip:!", "geoip:")
    if bare.startswith(("ext:", "ext-ip:")):
        raise LocalError(f"{text[:80]} is not supported: a rule set of the profile is")
    country = bare.removeprefix("geoip:")
    if bare.startswith("geoip:"):
        made = f"GEOIP,{'LAN' if country == 'private' else country.upper()}{option}"
    else:
        made = f"IP-CIDR,{bare}{option}"
    return made if "!" not in text else f"NOT,(({made}))"


def _source(text: str) -> str:
    made = _address(text, "")
    if made.startswith("NOT"):
        raise LocalError(f"{text[:80]} is not supported for a source")
    return f"{made},src"


def _process(text: str) -> str:
    return f"PROCESS-PATH,{text}" if text.startswith("/") else f"PROCESS-NAME,{text}"


def _ports(value: Any) -> list[str]:
    return [] if value in _NOTHING else ["/".join(_words(value))]


def _words(value: Any) -> list[str]:
    return [word.strip() for text in map(str, listed(value)) for word in text.split(",") if word.strip()]


def _either(word: str, values: list[str]) -> str:
    texts = [f"{word},{value}" for value in values]
    if len(texts) < 2:
        return "".join(texts)
    return f"OR,({','.join(f'({each})' for each in texts)})"


def _is_transparent(inbound: Mapping[str, Any]) -> bool:
    settings = inbound.get("settings")
    return (
        inbound.get("protocol") == "dokodemo-door"
        and isinstance(settings, dict)
        and settings.get("followRedirect") is True
    )
