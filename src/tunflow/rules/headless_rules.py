"""sing-box's rule sets: JSON rules without a target ("headless"), each as one condition.

Of a rule's fields those about the target (`domain…`, `ip_cidr`) are "any of them", and so are `port` with `port_range`
and the client's two; all these groups, and every other field, must hold.

Read first: https://sing-box.sagernet.org/configuration/rule-set/headless-rule/
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tunflow.errors import LocalError
from tunflow.rules.cidr import CIDRSet
from tunflow.rules.conditions import (
    All,
    Condition,
    DomainRegex,
    DomainWildcard,
    Not,
    RuleSet,
    Some,
    SourceAddresses,
    SourcePort,
    TargetPort,
    Uid,
)
from tunflow.rules.domains import DomainSet, normalise
from tunflow.rules.values import SIMPLE, ranges
from tunflow.single_values import text_json_value

BEHAVIOR = "sing-box"
_DEEPEST = 8
_PORTS = 65535
_NOWHERE = {
    "package_name": "is about Android's programs",
    "query_type": "is about questions to a resolver",
    "wifi_ssid": "is about the network that the machine is in: on_demand in the profile is",
    "wifi_bssid": "is about the network that the machine is in: on_demand in the profile is",
    "network_type": "is about the network that the machine is in: on_demand in the profile is",
    "network_is_expensive": "is about the network that the machine is in",
    "network_is_constrained": "is about the network that the machine is in",
    "network_interface_address": "is about the network that the machine is in",
    "default_interface_address": "is about the network that the machine is in",
}
"""Fields that say nothing about a flow."""
_TARGET = ("domain", "domain_suffix", "domain_keyword", "domain_regex", "adguard_domain", "ip_cidr")
_WORDS = {
    "network": "NETWORK",
    "process_name": "PROCESS-NAME",
    "process_path": "PROCESS-PATH",
    "process_path_regex": "PROCESS-PATH-REGEX",
}


def source_rules(text: str) -> list[Any]:
    """The rules of a list's JSON source. Raises ValueError for what is none."""
    data = text_json_value(text)
    rules = data.get("rules") if isinstance(data, dict) else None
    if not isinstance(rules, list):
        raise ValueError('a list of sing-box\'s is {"version": …, "rules": […]}, or the packed form (.srs)')
    return rules


def condition(rule: Any, depth: int = 0) -> Condition:
    """What a rule is about. Raises ValueError or LocalError for what is not understood."""
    if not isinstance(rule, dict):
        raise ValueError("a rule is a table")
    if depth > _DEEPEST:
        raise ValueError(f"rules are nested deeper than {_DEEPEST}")
    if rule.get("type") == "logical":
        inner = tuple(condition(each, depth + 1) for each in listed(rule.get("rules")))
        if not inner or rule.get("mode") not in {"and", "or"}:
            raise ValueError("a logical rule has the mode and or or, and rules")
        made: Condition = All(inner) if rule["mode"] == "and" else Some(inner)
    else:
        parts = [*_target(rule), *_others(rule)]
        if not parts:
            raise ValueError("a rule has a condition")
        made = parts[0] if len(parts) == 1 else All(tuple(parts))
    return Not(made) if rule.get("invert") is True else made


def merged(conditions: Iterable[Condition]) -> RuleSet:
    """Any of several conditions; sets of names and addresses become one."""
    domains, addresses = DomainSet(), CIDRSet()
    others: list[Condition] = []
    for each in conditions:
        if isinstance(each, RuleSet):
            domains = domains | each.domains if domains else each.domains
            addresses = addresses | each.addresses if addresses else each.addresses
            others += each.others
        else:
            others.append(each)
    return RuleSet(domains, addresses, tuple(others))


def listed(value: Any) -> list[Any]:
    """A list, also where one value stands alone."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def port_range(text: str) -> str:
    """`1000:2000`, `:3000` and `4000:` as ranges here. Raises ValueError."""
    first, colon, last = text.partition(":")
    if not colon:
        raise ValueError(f"{text!r} is not a range of ports; 1000:2000, :3000 and 4000: are")
    return f"{first or 0}-{last or _PORTS}"


def _target(rule: Mapping[str, Any]) -> Iterator[Condition]:
    """What is about the target, as one set."""
    if not any(listed(rule.get(key)) for key in _TARGET):
        return
    below: list[str] = []
    others: list[Condition] = []
    for text in map(str, listed(rule.get("domain_suffix"))):
        if text.startswith("."):
            others.append(DomainWildcard(tuple(normalise(text[1:]).split(".")), below=True))
        else:
            below.append(normalise(text))
    exact = [normalise(str(each)) for each in listed(rule.get("domain"))]
    keywords = [str(each).lower() for each in listed(rule.get("domain_keyword"))]
    others += [SIMPLE["DOMAIN-REGEX"](str(each)) for each in listed(rule.get("domain_regex"))]
    for text in map(str, listed(rule.get("adguard_domain"))):
        _adguard(text, exact, below, others)
    yield RuleSet(DomainSet(exact, below, keywords), CIDRSet(map(str, listed(rule.get("ip_cidr")))), tuple(others))


def _adguard(text: str, exact: list[str], below: list[str], others: list[Condition]) -> None:
    """`||name^`, `|name^`, and parts of names with stars. Raises ValueError."""
    match = re.fullmatch(r"(\|\|?)?(.*?)(\^)?", text, re.DOTALL)
    assert match is not None, "it takes anything"
    front, name, end = match.groups()
    if front and end and "*" not in name:
        (below if front == "||" else exact).append(normalise(name))
        return
    start = {"||": r"(?:^|\.)", "|": "^"}.get(front or "", "")
    others.append(DomainRegex(start + ".*".join(map(re.escape, name.split("*"))) + ("$" if end else "")))


def _others(rule: Mapping[str, Any]) -> Iterator[Condition]:
    ports = [*map(str, listed(rule.get("port"))), *(port_range(str(each)) for each in listed(rule.get("port_range")))]
    if ports:
        yield TargetPort(ranges("/".join(ports), _PORTS))
    sources = listed(rule.get("source_port"))
    ports = [*map(str, sources), *(port_range(str(each)) for each in listed(rule.get("source_port_range")))]
    if ports:
        yield SourcePort(ranges("/".join(ports), _PORTS))
    if networks := [str(each) for each in listed(rule.get("source_ip_cidr"))]:
        yield SourceAddresses(CIDRSet(networks))
    if users := listed(rule.get("user_id")):
        yield Uid(ranges("/".join(map(str, users)), 2**32 - 1))
    for key, word in _WORDS.items():
        if values := listed(rule.get(key)):
            made = tuple(SIMPLE[word](str(each)) for each in values)
            yield made[0] if len(made) == 1 else Some(made)
    for key, value in rule.items():
        if value in (None, False, [], {}, "") or key in _KNOWN:
            continue
        raise ValueError(f"{key} {_NOWHERE.get(key, 'is not supported')}")


_KNOWN = {
    *_TARGET, *_WORDS, "port", "port_range", "source_port", "source_port_range", "source_ip_cidr", "user_id",
    "invert", "type", "mode", "rules",
}  # fmt: skip


def rule_set(text: str, file: str, lose: Callable[[str, int, str], None]) -> tuple[RuleSet, int]:
    """The set that a list's JSON source holds, and how many of its rules were understood.

    `lose` gets each other rule, its number from 1, and why. Raises LocalError for what is no such list.
    """
    try:
        rules = source_rules(text)
    except ValueError as error:
        raise LocalError(f"{file}: {error}") from None
    found: list[Condition] = []
    for number, rule in enumerate(rules, 1):
        try:
            found.append(condition(rule))
        except (ValueError, LocalError) as error:
            lose(json.dumps(rule)[:200], number, str(error))
    return merged(found), len(found)
