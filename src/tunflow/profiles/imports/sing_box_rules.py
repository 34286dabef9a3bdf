"""Rules of sing-box's `route` and `dns` as conditions in our words.

Read first: https://sing-box.sagernet.org/configuration/route/rule/ (which of a rule's fields are "or" and which "and").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tunflow.errors import LocalError
from tunflow.profiles.imports import keys
from tunflow.profiles.imports.draft import Draft
from tunflow.profiles.imports.draft_rules import DraftRules
from tunflow.rules.headless_rules import listed, port_range

FORMAT = "sing-box"
ALWAYS = "OR,((NETWORK,tcp),(NETWORK,udp))"
NEVER = f"NOT,(({ALWAYS}))"
_NAMES = {
    "domain": "DOMAIN", "domain_keyword": "DOMAIN-KEYWORD", "domain_regex": "DOMAIN-REGEX", "ip_cidr": "IP-CIDR",
    "geosite": "GEOSITE", "geoip": "GEOIP", "rule_set": "RULE-SET",
}  # fmt: skip
"""What a flow's target is about: any of them is enough."""
_OTHERS = {
    "network": "NETWORK", "process_name": "PROCESS-NAME", "process_path": "PROCESS-PATH",
    "process_path_regex": "PROCESS-PATH-REGEX", "user_id": "UID",
}  # fmt: skip
"""Each of them must hold, by any of its values."""
_EITHER = (("port", "port_range", "DST-PORT"), ("source_port", "source_port_range", "SRC-PORT"))
_READ = frozenset(
    {*_NAMES, *_OTHERS, "domain_suffix", "ip_is_private", "port", "port_range", "source_port", "source_port_range",
     "source_ip_cidr", "source_ip_is_private", "source_geoip", "ip_version", "protocol", "inbound", "clash_mode",
     "auth_user", "package_name", "invert", "type", "mode", "rules", "action", "outbound", "method", "no_drop"}
)  # fmt: skip
_NOT_TRANSLATED = "DOMAIN-REGEX"
"""May hold brackets, which conditions within conditions are cut at: it stands in a list of its own."""


class SingBoxConditions:
    """What rules are about, in one configuration."""

    def __init__(self, draft: Draft, data: Mapping[str, Any]) -> None:
        self._draft = draft
        inbounds = [each for each in listed(data.get("inbounds")) if isinstance(each, dict)]
        self._tuns = {str(each.get("tag")) for each in inbounds if each.get("type") == "tun"}
        api = data.get("experimental", {})
        api = api.get("clash_api", {}) if isinstance(api, dict) else {}
        mode = api.get("default_mode") if isinstance(api, dict) else None
        self._mode = str(mode or "Rule").lower()

    def of(self, rule: Any, place: str) -> str:
        """The condition of a rule, ALWAYS or NEVER. Raises LocalError for what has no equal here."""
        if not isinstance(rule, dict):
            raise LocalError("a rule is a table")
        made = self._logical(rule, place) if rule.get("type") == "logical" else self._plain(rule, place)
        if rule.get("invert") is not True:
            return made
        return {ALWAYS: NEVER, NEVER: ALWAYS}.get(made, f"NOT,(({made}))")

    def is_switched_on(self, rule: Mapping[str, Any]) -> bool:
        """Return True if a rule is about flows out of a tun, in the mode that the configuration begins with."""
        inbounds, modes = listed(rule.get("inbound")), listed(rule.get("clash_mode"))
        if inbounds and self._tuns.isdisjoint(map(str, inbounds)):
            return False
        if modes and self._mode not in {str(each).lower() for each in modes}:
            return False
        return not listed(rule.get("auth_user")) and not listed(rule.get("package_name"))

    def _logical(self, rule: Mapping[str, Any], place: str) -> str:
        inner = [self.of(each, f"{place}.rules[{n}]") for n, each in enumerate(listed(rule.get("rules")))]
        if not inner or str(rule.get("mode")) not in {"and", "or"}:
            raise LocalError("a logical rule has the mode and or or, and rules")
        decides, is_neutral = (ALWAYS, NEVER) if rule["mode"] == "or" else (NEVER, ALWAYS)
        if decides in inner:
            return decides
        inner = [each for each in inner if each != is_neutral]
        return _joined("OR" if rule["mode"] == "or" else "AND", inner) if inner else is_neutral

    def _plain(self, rule: Mapping[str, Any], place: str) -> str:
        known = keys.fates(FORMAT, "route rule")
        for key, value in rule.items():
            if key not in _READ and value not in (None, False, [], {}, ""):
                words = known[key].words if key in known else "is not known"
                raise LocalError(f"{key} is not supported: {words}" if key in known else f"{key} {words}")
        conditional = {key for key, value in rule.items() if value not in (None, False, [], "")} - _ACTIONS
        if not conditional:
            raise LocalError("it has no condition")
        if not self.is_switched_on(rule):
            return NEVER
        parts = [each for each in (self._names(rule, place), *self._others(rule)) if each]
        return _joined("AND", parts) if parts else ALWAYS

    def _names(self, rule: Mapping[str, Any], place: str) -> str:
        """The conditions of which any is enough: a list of the profile's own."""
        lines = name_lines(rule)
        if rule.get("ip_is_private") is True:
            lines.append("GEOIP,LAN")
        for tag in map(str, listed(rule.get("rule_set"))):
            if tag not in self._draft.rule_sets:
                raise LocalError(f"there is no rule set {tag!r}")
        if not lines:
            return ""
        if len(lines) == 1 and not lines[0].startswith(_NOT_TRANSLATED):
            return lines[0]
        return DraftRules(self._draft).take_list(place, lines)

    def _others(self, rule: Mapping[str, Any]) -> Iterator[str]:
        for one, several, word in _EITHER:
            values = [*listed(rule.get(one)), *(_port_range(each) for each in listed(rule.get(several)))]
            yield _either(word, values)
        yield _either("SRC-IP-CIDR", listed(rule.get("source_ip_cidr")), self._private_sources(rule))
        for key, word in _OTHERS.items():
            yield _either(word, listed(rule.get(key)))
        if version := rule.get("ip_version"):
            yield f"IP-CIDR,{'0.0.0.0/0' if str(version) == '4' else '::/0'},no-resolve"
        if protocols := [str(each) for each in listed(rule.get("protocol"))]:
            if protocols != ["quic"]:
                other = next(each for each in protocols if each != "quic")
                raise LocalError(f"protocol {other} is not supported: rules here know names, addresses and ports")
            yield "NETWORK,udp"
            yield "DST-PORT,443"

    def _private_sources(self, rule: Mapping[str, Any]) -> list[str]:
        countries = [f"GEOIP,{str(each).upper()},src" for each in listed(rule.get("source_geoip"))]
        return [*countries, *(["GEOIP,LAN,src"] if rule.get("source_ip_is_private") is True else [])]


_ACTIONS = frozenset({"action", "outbound", "method", "no_drop", "invert", "type", "mode", "rules", "server"})


def name_lines(rule: Mapping[str, Any]) -> list[str]:
    """What a rule says about its target, without private addresses: any line is enough."""
    lines = [f"{word},{value}" for key, word in _NAMES.items() for value in map(str, listed(rule.get(key)))]
    for suffix in map(str, listed(rule.get("domain_suffix"))):
        lines.append(f"DOMAIN-WILDCARD,*{suffix}" if suffix.startswith(".") else f"DOMAIN-SUFFIX,{suffix}")
    return lines


def _either(word: str, values: list[Any], more: list[str] | None = None) -> str:
    texts = [*(f"{word},{value}" for value in values), *(more or ())]
    return _joined("OR", texts) if texts else ""


def _joined(word: str, texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{word},({','.join(f'({each})' for each in texts)})"


def _port_range(text: Any) -> str:
    try:
        return port_range(str(text))
    except ValueError as error:
        raise LocalError(str(error)) from None


def rule_text(condition: str, target: str) -> str:
    """The rule of a condition, whose options stand behind the target."""
    for option in (",no-resolve", ",src"):
        if condition.endswith(option):
            return f"{condition.removesuffix(option)},{target}{option}"
    return f"{condition},{target}"
