"""Which names are looked up where: NEDNSSettings, and its forms over TLS and HTTPS."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from tunflow.errors import LocalError
from tunflow.providers import check
from tunflow.urls import NotAURL, parse_url


class DNSProtocol(IntEnum):
    """NEDNSProtocol."""

    CLEARTEXT = 1
    TLS = 2
    HTTPS = 3


@dataclass(frozen=True, init=False)
class DNSSettings:
    """NEDNSSettings: resolvers, and the domains that they are asked for.

    `match_domains` None: all names. A list: those domains and what is below them; with "" in it every name, these
    resolvers first. Without `match_domains_no_search` the match domains are search domains too.
    """

    servers: tuple[check.Address, ...]
    search_domains: tuple[str, ...]
    domain_name: str | None
    match_domains: tuple[str, ...] | None
    match_domains_no_search: bool

    def __init__(
        self,
        servers: Iterable[str],
        *,
        search_domains: Iterable[str] = (),
        domain_name: str | None = None,
        match_domains: Iterable[str] | None = None,
        match_domains_no_search: bool = False,
    ) -> None:
        """Raises LocalError."""
        kind = type(self).__name__
        texts = check.texts(f"{kind}.servers", servers)
        found = tuple(check.address(f"{kind}.servers", server) for server in texts)
        if not found and not self._may_have_no_server:
            raise LocalError(f"{kind}.servers: expected at least one address")
        object.__setattr__(self, "servers", found)
        object.__setattr__(self, "search_domains", _domains(f"{kind}.search_domains", search_domains))
        name = None if domain_name is None else check.domain(f"{kind}.domain_name", domain_name)
        object.__setattr__(self, "domain_name", name)
        matched = None if match_domains is None else _domains(f"{kind}.match_domains", match_domains)
        object.__setattr__(self, "match_domains", matched)
        object.__setattr__(self, "match_domains_no_search", match_domains_no_search)

    _may_have_no_server = False

    @property
    def dns_protocol(self) -> DNSProtocol:
        """How the resolvers are spoken to."""
        return DNSProtocol.CLEARTEXT


@dataclass(frozen=True, init=False)
class DNSOverTLSSettings(DNSSettings):
    """NEDNSOverTLSSettings (RFC 7858): the certificate must be for `server_name`."""

    server_name: str

    def __init__(self, servers: Iterable[str], server_name: str, **others: object) -> None:
        """`others` as in DNSSettings. Raises LocalError."""
        super().__init__(servers, **others)  # type: ignore[arg-type]
        name = check.domain("DNSOverTLSSettings.server_name", server_name)
        if not name:
            raise LocalError("DNSOverTLSSettings.server_name: expected the name in the resolver's certificate")
        object.__setattr__(self, "server_name", name)

    @property
    def dns_protocol(self) -> DNSProtocol:
        """TLS."""
        return DNSProtocol.TLS


@dataclass(frozen=True, init=False)
class DNSOverHTTPSSettings(DNSSettings):
    """NEDNSOverHTTPSSettings (RFC 8484). Without `servers` the URL's host is looked up by the system."""

    server_url: str

    def __init__(self, servers: Iterable[str], server_url: str, **others: object) -> None:
        """`others` as in DNSSettings. Raises LocalError."""
        super().__init__(servers, **others)  # type: ignore[arg-type]
        try:
            parts = parse_url(server_url)
        except NotAURL:
            parts = None
        if parts is None or parts.scheme != "https" or not parts.host:
            raise LocalError(
                f"DNSOverHTTPSSettings.server_url: {server_url!r} is not a URL like https://dns.example/dns-query"
            )
        object.__setattr__(self, "server_url", server_url)

    _may_have_no_server = True

    @property
    def dns_protocol(self) -> DNSProtocol:
        """HTTPS."""
        return DNSProtocol.HTTPS


def _domains(field: str, values: Iterable[str]) -> tuple[str, ...]:
    return tuple(check.domain(field, value) for value in check.texts(field, values))
