"""Apple's on-demand rules as keys of `[on_demand]`, and back (Device Management: VPN.OnDemandRules). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunflow.profiles.sections.on_demand import OnDemandRuleSection

_ACTIONS = {
    "Connect": "connect", "Disconnect": "disconnect", "Ignore": "ignore", "EvaluateConnection": "evaluate-connection",
}  # fmt: skip
_INTERFACES = {"Ethernet": "ethernet", "WiFi": "wifi", "Cellular": "cellular"}
_SAME = {
    "SSIDMatch": "ssid", "DNSServerAddressMatch": "dns_servers", "DNSDomainMatch": "search_domains",
    "URLStringProbe": "probe_url",
}  # fmt: skip
_CONNECTION = {"ConnectIfNeeded": "connect-if-needed", "NeverConnect": "never-connect"}
_PARAMETERS = {"Domains": "domains", "RequiredDNSServers": "dns_servers", "RequiredURLStringProbe": "probe_url"}


def on_demand_keys(rules: object) -> tuple[list[dict[str, Any]], list[str]]:
    """The rules as a profile has them, and what of them is lost: after a rule that is lost none counts."""
    made: list[dict[str, Any]] = []
    for number, rule in enumerate(rules if isinstance(rules, list) else [], 1):
        found = _rule(rule) if isinstance(rule, dict) else "it is no dictionary"
        if isinstance(found, str):
            return [], [f"OnDemandRules: rule {number}: {found}"]
        made.append(found)
    return made, []


def _rule(rule: Mapping[str, Any]) -> dict[str, Any] | str:
    """The rule's keys, or why it has none."""
    action = _ACTIONS.get(str(rule.get("Action")))
    if action is None:
        return f"Action {rule.get('Action')} is not known"
    found: dict[str, Any] = {"action": action}
    for key, value in rule.items():
        if key == "InterfaceTypeMatch":
            if value not in _INTERFACES:
                return f"InterfaceTypeMatch {value} is not known"
            found["interface_type"] = _INTERFACES[value]
        elif key in _SAME:
            found[_SAME[key]] = value
        elif key == "ActionParameters" and isinstance(value, list):
            connections = [_parameters(each) for each in value if isinstance(each, dict)]
            if None in connections:
                return "ActionParameters: DomainAction is not known"
            found["connections"] = connections
        elif key != "Action":
            return f"{key} is not known"
    return found


def _parameters(given: Mapping[str, Any]) -> dict[str, Any] | None:
    action = _CONNECTION.get(str(given.get("DomainAction")))
    if action is None:
        return None
    return {"action": action, **{ours: given[theirs] for theirs, ours in _PARAMETERS.items() if theirs in given}}


def apple_rules(rules: Sequence[OnDemandRuleSection]) -> list[dict[str, Any]]:
    """The rules of a profile as Apple has them."""
    back = {ours: theirs for theirs, ours in _ACTIONS.items()}
    made = []
    for rule in rules:
        data = rule.model_dump(exclude_unset=True, mode="json")
        out: dict[str, Any] = {"Action": back[rule.action]}
        interfaces = {ours: theirs for theirs, ours in _INTERFACES.items()}
        if rule.interface_type in interfaces:
            out["InterfaceTypeMatch"] = interfaces[rule.interface_type]
        out |= {theirs: data[ours] for theirs, ours in _SAME.items() if data.get(ours)}
        if rule.connections:
            out["ActionParameters"] = [_apple_parameters(each.model_dump(mode="json")) for each in rule.connections]
        made.append(out)
    return made


def _apple_parameters(data: Mapping[str, Any]) -> dict[str, Any]:
    back = {ours: theirs for theirs, ours in _CONNECTION.items()}
    return {
        "DomainAction": back[data["action"]],
        **{theirs: data[ours] for theirs, ours in _PARAMETERS.items() if data.get(ours)},
    }
