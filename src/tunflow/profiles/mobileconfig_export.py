"""A profile as a configuration profile for an iPhone or Mac: what the device can do by itself. Pure.

An IKEv2 server, names by DNS over HTTPS or TLS, and the filter's own lines for hosts. Other servers are told.
Identifiers are made of the content, so that the same profile replaces itself on the device.
"""

from __future__ import annotations

import plistlib
import re
import uuid
from typing import Any

from tunflow.dns.upstream import parse_upstream
from tunflow.errors import LocalError
from tunflow.profiles.imports.mobileconfig_ikev2 import ikev2_payloads
from tunflow.profiles.imports.mobileconfig_rules import apple_rules
from tunflow.profiles.profile import Profile
from tunflow.profiles.server_link import ServerLink
from tunflow.protocols.ikev2.settings import SCHEME, IKEv2Server

_NAMESPACE = uuid.UUID("6f3f2f0c-7b1d-5c42-9d1b-5d0f6a3c1e11")  # noqa: TID251 - our own
_HOST_LINE = re.compile(r"\|\|([a-z0-9.-]+)\^")
MOST_URLS = 50
"""Of a filter: Apple's limit is not told, but a device takes fifty bookmarks."""


def mobileconfig(profile: Profile) -> tuple[bytes, list[str]]:
    """The file, and what of the profile is not in it, in lines for people.

    Raises LocalError where nothing of it is for such a device.
    """
    lost: list[str] = []
    vpn = _vpn(profile, lost)
    payloads = [*vpn, *_dns(profile, lost), *_filter(profile, lost)]
    if not vpn and (profile.server or profile.servers or profile.provider):
        lost.append("servers: an iPhone or Mac has no client for them by itself, but for one of IKEv2")
    if not payloads:
        raise LocalError(f"{profile.at()}: nothing in it is for an iPhone or Mac by itself: DNS over HTTPS or TLS is")
    whole = _payload("Configuration", profile, "tunflow", PayloadContent=payloads)
    return plistlib.dumps(whole), lost


def _vpn(profile: Profile, lost: list[str]) -> list[dict[str, Any]]:
    """The one server, where that is IKEv2."""
    link = str(profile.provider_configuration.get("link", "")) if profile.provider == SCHEME else ""
    server = ServerLink.of(link).server if link else profile.server[0].server if len(profile.server) == 1 else None
    if not isinstance(server, IKEv2Server):
        return []
    try:
        settings, authority = ikev2_payloads(server)
    except LocalError as error:
        lost.append(f"servers: {error}")
        return []
    made = []
    if authority is not None:
        made.append(_payload("com.apple.security.root", profile, "CA", PayloadContent=authority))
    elif server.ca is not None:
        lost.append(f"servers: the CA in {server.ca}: put it on the device")
    if profile.tunnel.kill_switch:
        settings |= {"IncludeAllNetworks": 1, "ExcludeLocalNetworks": int(profile.tunnel.exclude_lan)}
    if profile.on_demand.enabled:
        settings |= {"OnDemandEnabled": 1, "OnDemandRules": apple_rules(profile.on_demand.rules)}
    vpn = _payload("com.apple.vpn.managed", profile, "VPN", VPNType="IKEv2", UserDefinedName=profile.name)
    return [*made, vpn | {"IKEv2": settings}]


def _dns(profile: Profile, lost: list[str]) -> list[dict[str, Any]]:
    settings: dict[str, Any] = {}
    for text in profile.dns.servers:
        upstream = parse_upstream(text)
        address = upstream.target.host_text
        if upstream.transport == "https" and settings.get("DNSProtocol", "HTTPS") == "HTTPS":
            port = "" if upstream.target.port == 443 else f":{upstream.target.port}"
            url = f"https://{upstream.name}{port}{upstream.path}"
            if settings.setdefault("ServerURL", url) != url:
                lost.append(f"dns.servers: {upstream.label}: a device asks one resolver")
                continue
            settings["DNSProtocol"] = "HTTPS"
        elif upstream.transport == "tls" and settings.get("DNSProtocol", "TLS") == "TLS":
            if settings.setdefault("ServerName", upstream.name) != upstream.name:
                lost.append(f"dns.servers: {upstream.label}: a device asks one resolver")
                continue
            settings["DNSProtocol"] = "TLS"
        else:
            lost.append(f"dns.servers: {upstream.label}: a device asks one resolver, over HTTPS or TLS")
            continue
        if isinstance(upstream.target.host, bytes):
            settings.setdefault("ServerAddresses", []).append(address)
    if not settings:
        return []
    if profile.dns.match_domains:
        settings["SupplementalMatchDomains"] = list(profile.dns.match_domains)
    more = {"OnDemandRules": apple_rules(profile.on_demand.rules)} if profile.on_demand.enabled else {}
    return [_payload("com.apple.dnsSettings.managed", profile, "DNS", DNSSettings=settings, **more)]


def _filter(profile: Profile, lost: list[str]) -> list[dict[str, Any]]:
    if profile.filter is None or not profile.filter.enabled:
        return []
    denied: list[str] = []
    allowed: list[str] = []
    for each in profile.filter.lists:
        if not each.lines:
            lost.append(f"filter.lists: {each.name}: a device fetches no lists")
            continue
        hosts = [found[1] if found else None for found in map(_HOST_LINE.fullmatch, each.lines)]
        known = [f"https://{host}" for host in hosts if host is not None]
        (denied if each.action == "block" else allowed).extend(known)
        if len(known) < len(each.lines):
            lost.append(f"filter.lists: {each.name}: {len(each.lines) - len(known)} lines that are no ||host^")
    if len(denied) + len(allowed) > MOST_URLS:
        lost.append(f"filter.lists: only the first {MOST_URLS} of {len(denied)} and {len(allowed)} hosts")
    if not (denied or allowed):
        return []
    urls = {"DenyListURLs": denied[:MOST_URLS], "PermittedURLs": allowed[:MOST_URLS]}
    kept = {key: value for key, value in urls.items() if value}
    return [_payload("com.apple.webcontent-filter", profile, "filter", FilterType="BuiltIn", **kept)]


def _payload(kind: str, profile: Profile, what: str, **content: Any) -> dict[str, Any]:
    identifier = f"tunflow.{profile.name}.{what}"
    return {
        "PayloadType": kind,
        "PayloadVersion": 1,
        "PayloadIdentifier": identifier,
        "PayloadUUID": str(uuid.uuid5(_NAMESPACE, identifier)).upper(),
        "PayloadDisplayName": f"{profile.name} ({what})",
        **content,
    }
