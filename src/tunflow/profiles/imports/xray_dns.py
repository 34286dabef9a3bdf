"""Xray's `dns` and `fakedns` as a profile's `[dns]`.

Read first: https://xtls.github.io/en/config/dns.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunflow.addresses import ip_address, ip_network
from tunflow.dns.upstream import parse_upstream
from tunflow.errors import LocalError
from tunflow.profiles.imports import keys
from tunflow.profiles.imports.draft import Draft
from tunflow.profiles.imports.xray_rules import FORMAT, patterns
from tunflow.rules.domains import normalise
from tunflow.rules.headless_rules import listed
from tunflow.rules.name_patterns import NamePatterns


class XrayDNS:
    """`dns` of one configuration; `section` becomes the profile's."""

    def __init__(self, draft: Draft, dns: Mapping[str, Any], pools: Any) -> None:
        self._draft = draft
        self._dns = dns
        self._given_pools = pools
        self.section: dict[str, Any] = {}
        self.wants_topics = False
        """True if names are told by topic."""

    def read(self) -> None:
        """All of it."""
        self._tell("dns", self._dns, "dns.")
        for number, server in enumerate(listed(self._dns.get("servers"))):
            place = f"dns.servers[{number}]"
            try:
                self._server(server if isinstance(server, dict) else {"address": server}, place)
            except LocalError as error:
                self._draft.tell(place, str(error))
        strategy = str(self._dns.get("queryStrategy") or "UseIP").lower()
        if strategy == "useipv4":
            self.section["hide_aaaa"] = True
        elif strategy == "useipv6":
            self._draft.tell("dns.queryStrategy", "UseIPv6 is not supported: names keep their IPv4 addresses")
        hosts = self._dns.get("hosts")
        for name, value in hosts.items() if isinstance(hosts, dict) else ():
            self._host(str(name), listed(value))

    def _tell(self, section: str, values: Mapping[str, Any], label: str) -> None:
        known = keys.fates(FORMAT, section)
        for key, words, is_refused in keys.unspoken(FORMAT, section, values):
            self._draft.tell(f"{label}{key}", words, is_lost=is_refused and key in known)

    def _server(self, server: Mapping[str, Any], place: str) -> None:
        """One of `servers`. Raises LocalError for a resolver that we do not have."""
        self._tell("dns server", server, f"{place}.")
        address = str(server.get("address") or "")
        if address == "localhost":
            words = "localhost: the system's resolvers would be asked past the tunnel, so these names go to the others"
            self._draft.tell(place, words, is_lost=False)
            return
        names = patterns(listed(server.get("domains")))
        self.wants_topics = self.wants_topics or any(each.startswith("geosite:") for each in names)
        if address == "fakedns":
            made = self.section.setdefault("fake_ip", self._pools())
            if names:
                made.setdefault("only", []).extend(names)
            return
        scheme, separator, rest = address.partition("://")
        via = "#direct" if scheme.endswith("+local") else ""
        link = f"{scheme.removesuffix('+local')}{separator}{rest}{via}"
        if port := server.get("port"):
            if separator:
                raise LocalError("port does not go with an address that is a URL")
            link = f"[{link}]:{port}" if ":" in link else f"{link}:{port}"
        parse_upstream(link)
        if names:
            self.section.setdefault("routes", []).append({"domains": names, "servers": [link]})
        else:
            self.section.setdefault("servers", []).append(link)

    def _pools(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for pool in listed(self._given_pools):
            try:
                network = ip_network(str(pool.get("ipPool")), strict=False) if isinstance(pool, dict) else None
            except ValueError:
                self._draft.tell("fakedns", f"{pool.get('ipPool')} is not a network")
                continue
            if network is not None:
                made[f"pool{network.version}"] = str(network)
        return made

    def _host(self, name: str, values: list[Any]) -> None:
        kind, colon, rest = name.partition(":")
        try:
            if colon and kind not in {"full", "domain"}:
                raise LocalError("names with hosts are full: and domain:")
            pattern = f"+.{rest}" if kind == "domain" and colon else rest if colon else name
            try:
                found = [str(ip_address(str(each))) for each in values]
            except ValueError:
                if len(values) != 1 or str(values[0]).startswith("#"):
                    raise LocalError("must have addresses, or one other name") from None
                found = [normalise(str(values[0]))]
            NamePatterns([pattern])
            self.section.setdefault("hosts", {})[pattern.lower()] = found
        except (LocalError, ValueError) as error:
            self._draft.tell(f"dns.hosts.{name}", str(error))
