"""Clash's `dns` and `hosts` as a profile's `[dns]`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tunflow.addresses import ip_address, ip_network
from tunflow.dns.upstream import parse_upstream
from tunflow.errors import LocalError

Skip = Callable[..., None]
"""Told why something is left out, and its key."""

_KEYS = """
enable listen ipv6 use-hosts use-system-hosts prefer-h3 cache-algorithm respect-rules fake-ip-filter-mode
enhanced-mode fake-ip-range fake-ip-filter default-nameserver nameserver fallback fallback-filter
proxy-server-nameserver nameserver-policy
"""
_UNDERSTOOD = frozenset(_KEYS.split())
_TRUE = {"true", "yes", "on"}


def section(dns: dict[str, Any], skip: Skip) -> dict[str, Any]:
    """What `dns` says; nothing where it is off."""
    if str(dns.get("enable", "false")).lower() not in _TRUE:
        return {}
    for key in dns:
        if key not in _UNDERSTOOD:
            skip(f"dns.{key} is not supported", key)
    made: dict[str, Any] = {}
    servers, fallback = _resolvers(dns, "nameserver", skip), _resolvers(dns, "fallback", skip)
    if servers and fallback:
        # Clash asks both and believes `nameserver` when its address is at home: that is ChinaDNS.
        made |= {"domestic": servers, "foreign": fallback}
    elif servers:
        made["servers"] = servers
    bootstrap = _resolvers(dns, "default-nameserver", skip)
    if bootstrap and (servers or fallback):
        made["bootstrap"] = bootstrap
    if dns.get("enhanced-mode") == "fake-ip":
        made["fake_ip"] = _fake_ip(dns, skip)
    routes = _routes(dns.get("nameserver-policy"), skip)
    if routes:
        made["routes"] = routes
    return made


def hosts(given: Any, skip: Skip) -> dict[str, list[str]]:
    """What `hosts` says."""
    made: dict[str, list[str]] = {}
    for name, value in given.items() if isinstance(given, dict) else ():
        addresses = [value] if isinstance(value, str) else value
        try:
            if "*" in name or name.startswith(("+", ".")):
                raise ValueError
            made[name.lower()] = [str(ip_address(each)) for each in addresses]
        except (ValueError, TypeError):
            skip(f"hosts: {name} is not a name with addresses", name)
    return made


def _resolvers(dns: dict[str, Any], key: str, skip: Skip) -> list[str]:
    given = dns.get(key)
    found = []
    for number, text in enumerate(given if isinstance(given, list) else ()):
        resolver = _resolver(str(text))
        if resolver is None:
            skip(f"dns.{key}: {text} is not a resolver that is supported", key, number)
        else:
            found.append(resolver)
    return found


def _resolver(text: str) -> str | None:
    """A resolver as we write it; None for one that we do not have."""
    try:
        parse_upstream(text)
    except LocalError:
        return None
    return text


def _fake_ip(dns: dict[str, Any], skip: Skip) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if pool := dns.get("fake-ip-range"):
        try:
            made["pool4"] = str(ip_network(pool, strict=False))
        except ValueError:
            skip(f"dns.fake-ip-range: {pool} is not a network", "fake-ip-range")
    real = []
    names = dns.get("fake-ip-filter")
    for number, name in enumerate(names if isinstance(names, list) else ()):
        plain = str(name).removeprefix("+.").removeprefix("*.").removeprefix(".")
        if "*" in plain or ":" in plain or not plain:
            skip(f"dns.fake-ip-filter: {name} is not supported", "fake-ip-filter", number)
        else:
            real.append(plain)
    return made | ({"real": real} if real else {})


def _routes(policy: Any, skip: Skip) -> list[dict[str, Any]]:
    made = []
    for name, value in policy.items() if isinstance(policy, dict) else ():
        domains = [each.strip().removeprefix("+.").removeprefix("*.") for each in name.split(",")]
        servers = [_resolver(str(each)) for each in ([value] if isinstance(value, str) else value or ())]
        if any("*" in each or ":" in each for each in domains) or not servers or None in servers:
            skip(f"dns.nameserver-policy: {name} is not supported", "nameserver-policy", name)
        else:
            made.append({"domains": domains, "servers": servers})
    return made
