"""`[dns]`: how names are looked up. `tunnel.dns_plan` makes of it what the name server runs by."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from tunflow.addresses import ip_address
from tunflow.dns.fake_ip import POOL4, POOL6
from tunflow.dns.upstream import parse_upstream
from tunflow.errors import LocalError
from tunflow.profiles.field_types import Domain, Network
from tunflow.profiles.section import Many, Section
from tunflow.rules.domains import normalise
from tunflow.rules.name_patterns import NamePatterns

_FULL = ("servers", "domestic", "foreign", "fake_ip", "hosts", "routes", "block_encrypted", "hide_aaaa", "ask_anyway")
"""Keys that say more than a mode can: every query is answered then, whomever it is for."""


def _resolver(text: str) -> str:
    try:
        parse_upstream(text)
    except LocalError as error:
        raise ValueError(str(error)) from None
    return text


Resolver = Annotated[str, AfterValidator(_resolver)]
"""A resolver as `tunflow.dns.upstream` reads it."""


RULE_SET = "rule-set:"
"""In front of the name of one of the profile's rule sets, whose names are meant."""
GEOSITE = "geosite:"
"""In front of a topic of the profile's `geosite`, whose names are meant."""


def check_names(text: str) -> None:
    """Raises ValueError when `text` is neither a pattern of names nor stands for a list of them."""
    for prefix in (RULE_SET, GEOSITE):
        if text.startswith(prefix):
            if not text.removeprefix(prefix).strip():
                raise ValueError(f"{prefix} is followed by nothing")
            return
    NamePatterns([text])


def _pattern(text: str) -> str:
    try:
        check_names(text)
    except ValueError as error:
        raise ValueError(f"must be names like example.com, *.example.com or full:example.com: {error}") from None
    return text if text.startswith((RULE_SET, GEOSITE)) else text.lower()


NamePattern = Annotated[str, AfterValidator(_pattern)]
"""Names as `tunflow.rules.name_patterns` reads them, a rule set, or a topic."""


def _host_value(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        pass
    try:
        return normalise(text)
    except ValueError:
        raise ValueError("must be an address like 192.0.2.1, or a name to look up instead") from None


HostValue = Annotated[str, AfterValidator(_host_value)]
"""An address, or a name."""


class ChinaDNSSection(Section):
    """`[dns.chinadns]`: whose answer is believed when `domestic` and `foreign` resolvers are there."""

    table: Literal["refined", "original"] = "refined"
    """That of chinadns-ng, or that of ChinaDNS."""
    country: str = "CN"
    """Whose addresses are domestic; `tunflow rules update` fetches them."""
    country_networks: str | None = None
    """A file with networks, one a line, instead of the registries' (a chnroute list)."""
    domestic_names: str | None = None
    """A file of domains that only domestic resolvers are asked for: one a line, or dnsmasq's `server=/DOMAIN/…`."""
    foreign_names: str | None = None
    """A file of domains that only foreign resolvers are asked for."""
    foreign_domains: Many[NamePattern] = ()
    """The same as a list in the profile."""
    distrusted: Many[Network] = ()
    """Networks that are never taken for domestic ones."""
    blacklist: str | None = None
    """A file of addresses or networks that no answer may hold."""
    accept_empty: bool = False
    """Refined: a domestic answer without an address is taken."""
    no_aaaa: Many[Literal["chn", "gfw", "none"]] = ()
    """Refined: names without AAAA records: those of the domestic list, of the foreign one, of neither."""
    bidirectional: bool = False
    """Original: foreign answers with domestic addresses are dropped."""
    mutation: bool = False
    """Original: names are sent to foreign resolvers with a compression pointer; over UDP."""
    delay: Annotated[float, Field(ge=0, le=3)] = 0.3
    """Original: seconds that a suspect answer waits for a better one."""


class FakeIPSection(Section):
    """`[dns.fake_ip]`: addresses that stand for names."""

    pool4: Network = POOL4
    pool6: Network = POOL6
    names: Annotated[int, Field(ge=16, le=1_000_000)] = 65_536
    """How many names have one at a time, if the pools have as many."""
    real: Many[NamePattern] = ()
    """Names that get real addresses, besides those that tunflow knows to need them."""
    only: Many[NamePattern] = ()
    """The only names that get fake ones; empty for all."""


class RouteSection(Section):
    """`[[dns.routes]]`: domains with resolvers of their own."""

    domains: Many[NamePattern] = Field(min_length=1)
    servers: Many[Resolver] = Field(min_length=1)


class DNSSection(Section):
    """Resolvers, and who is asked for what."""

    mode: str = "tcp"
    """As `tunflow run --dns`."""
    match_domains: Many[Domain] = ()
    """The only domains that are looked up in the tunnel; empty for all."""
    servers: Many[Resolver] = ()
    """Resolvers, asked in turn, through the tunnel unless they say otherwise."""
    race: bool = False
    """All of a list are asked at once, and the first answer counts."""
    domestic: Many[Resolver] = ()
    """With `foreign` instead of `servers`: asked past the tunnel."""
    foreign: Many[Resolver] = ()
    """Asked through the tunnel."""
    bootstrap: Many[Resolver] = ()
    """Who looks up the names of resolvers that are asked past the tunnel."""
    chinadns: ChinaDNSSection = ChinaDNSSection()
    fake_ip: FakeIPSection | None = None
    hosts: dict[str, Many[HostValue]] = Field(default_factory=dict)
    """Names with their addresses, or with the one other name that is looked up instead."""
    routes: Many[RouteSection] = ()
    block_encrypted: bool = False
    """Clients' DNS over TLS, QUIC and HTTPS is refused, so that they ask here."""
    hide_aaaa: bool = False
    """No name has AAAA records."""
    ask_anyway: Many[Domain] = ()
    """Names, and all below them, that resolvers are asked for although they are nobody's outside: a LAN's own."""
    dnssec: Literal["validate", "pass", "off"] = "pass"
    """What becomes of signatures: checked here, passed on to who asks for them, or not asked for."""
    trust_anchors: Many[str] = ()
    """With "validate": DS records as text (`. DS 20326 8 2 E06D…`) instead of the root's own."""
    cache_entries: Annotated[int, Field(ge=16, le=1_000_000)] = 10_000

    @property
    def is_full(self) -> bool:
        """True if it asks for more than `mode` can say."""
        return any(getattr(self, key) for key in _FULL) or self.dnssec != "pass"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.domestic) is not bool(self.foreign):
            raise ValueError("must have both domestic and foreign resolvers, or neither")
        if self.domestic and self.servers:
            raise ValueError("must have either servers, or domestic and foreign resolvers")
        if self.trust_anchors and self.dnssec != "validate":
            raise ValueError('must have dnssec = "validate" with trust_anchors')
        if self.is_full and self.mode not in {"tcp", "fake"}:
            raise ValueError('must have resolvers as servers = […] and no mode but "fake", or a mode alone')
        return self
