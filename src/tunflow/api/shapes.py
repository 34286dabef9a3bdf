"""The JSON that Clash's dashboards read, made of values; nothing here asks anybody anything.

Source: Clash's RESTful API as metacubexd, yacd and zashboard call it. Delays are in milliseconds, 0 for "does not
work".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from tunflow.addresses import ip_address
from tunflow.endpoint import Endpoint
from tunflow.flow import ProcessInfo

if TYPE_CHECKING:
    from tunflow.dataplane.flow_book import FlowEntry

GLOBAL = "GLOBAL"
_TYPES = {"select": "Selector", "url-test": "URLTest", "fallback": "Fallback", "load-balance": "LoadBalance"}
_RULE_WORDS = {
    "DOMAIN": "Domain",
    "DOMAIN-SUFFIX": "DomainSuffix",
    "DOMAIN-KEYWORD": "DomainKeyword",
    "DOMAIN-REGEX": "DomainRegex",
    "DOMAIN-WILDCARD": "DomainWildcard",
    "GEOSITE": "GeoSite",
    "GEOIP": "GeoIP",
    "IP-CIDR": "IPCIDR",
    "IP-CIDR6": "IPCIDR",
    "IP-ASN": "IPASN",
    "SRC-IP-CIDR": "SrcIPCIDR",
    "SRC-PORT": "SrcPort",
    "DST-PORT": "DstPort",
    "PROCESS-NAME": "Process",
    "PROCESS-PATH": "ProcessPath",
    "RULE-SET": "RuleSet",
    "MATCH": "Match",
    "FINAL": "Match",
}


def group(facts: Mapping[str, Any], delays: Mapping[str, float | None]) -> dict[str, Any]:
    """A group as a proxy; `facts` as `Groups.facts` gives them."""
    members = [member["name"] for member in facts["members"]]
    return {
        "name": facts["name"],
        "type": _TYPES.get(facts["type"], "Selector"),
        "now": facts["now"],
        "all": members,
        "history": history(delays.get(facts["now"])),
        "alive": True,
        "udp": True,
        "hidden": False,
    }


def server(name: str, kind: str, udp: bool, delay: float | None, works: bool = True) -> dict[str, Any]:
    """A server, or a built-in way out."""
    return {
        "name": name,
        "type": kind,
        "history": history(delay, works),
        "alive": works,
        "udp": udp,
        "now": "",
        "all": [],
    }


def history(delay: float | None, works: bool = True) -> list[dict[str, Any]]:
    """The last delay, in seconds, as the list of them that dashboards draw; none if it was never asked."""
    if delay is None and works:
        return []
    return [{"time": _moment(datetime.now(UTC).timestamp()), "delay": milliseconds(delay)}]


def milliseconds(delay: float | None) -> int:
    """Return a delay as dashboards have it; 0 for none."""
    return 0 if delay is None else max(1, round(delay * 1000))


def rule(text: str, target: str, index: int) -> dict[str, Any]:
    """A rule as a line of the table."""
    word, payload = rule_parts(text)
    return {"index": index, "type": word, "payload": payload, "proxy": target, "size": -1}


def rule_parts(text: str) -> tuple[str, str]:
    """Return what kind of rule a line is, in Clash's words, and what it compares with."""
    parts = [part.strip() for part in text.split(",")]
    word = parts[0].upper()
    return _RULE_WORDS.get(word, parts[0] or "Match"), parts[1] if len(parts) > 2 else ""


def connection(entry: FlowEntry, inbound: str) -> dict[str, Any]:
    """What does not change of a flow; `inbound` is how it came in."""
    word, payload = rule_parts(entry.verdict.text) if entry.verdict is not None else ("Match", "")
    flow = entry.flow
    process: ProcessInfo | None = flow.process
    executable = process.executable if process is not None else None
    return {
        "id": str(entry.number),
        "metadata": {
            "network": flow.protocol,
            "type": inbound,
            "sourceIP": _host(flow.client),
            "sourcePort": str(flow.client.port),
            "destinationIP": "" if flow.is_fake or isinstance(flow.target.host, str) else _host(flow.target),
            "destinationPort": str(flow.target.port),
            "host": entry.hostname
            or flow.hostname
            or (_host(flow.target) if isinstance(flow.target.host, str) else ""),
            "dnsMode": "fake-ip" if flow.is_fake else "normal",
            "processPath": executable or "",
            "process": _program(process),
            "uid": process.uid if process is not None and process.uid is not None else 0,
            "remoteDestination": str(entry.target),
            "sniffHost": "",
            "specialProxy": "",
            "specialRules": "",
        },
        "start": _moment(entry.since),
        "chains": list(reversed(entry.path)) or [entry.label],
        "rule": word,
        "rulePayload": payload,
    }


def _program(process: ProcessInfo | None) -> str:
    if process is None:
        return ""
    return process.name or (PurePath(process.executable).name if process.executable else "")


def _host(end: Endpoint) -> str:
    return end.host if isinstance(end.host, str) else str(ip_address(end.host))


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
