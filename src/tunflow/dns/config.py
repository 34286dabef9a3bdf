"""Everything that is said about names, as one value: what a profile's `[dns]` and `run --dns` come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tunflow.dns.fake_ip import MOST_NAMES, POOL4, POOL6
from tunflow.dns.public_resolvers import PublicResolvers, known_resolvers
from tunflow.dns.resolver_plan import ResolverPlan
from tunflow.dns.selection import AddressTest
from tunflow.dns.upstream import TUNNEL, Upstream

SERVERS = "servers"
"""The group of a configuration that has but one."""
BOOTSTRAP = "bootstrap"
"""The group that looks up the names of resolvers which are asked directly."""


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """Resolvers that are asked as one."""

    upstreams: tuple[Upstream, ...]
    race: bool = False
    """All at once instead of one after the other."""
    via: str = TUNNEL
    """The server to go through where an upstream does not say."""
    mutation: bool = False
    """Names are written as ChinaDNS did to escape injectors (`dns.mutation`); over UDP only."""


@dataclass(frozen=True, slots=True)
class FakeIP:
    """Fake addresses; see `dns.fake_ip`."""

    pool4: str = POOL4
    pool6: str = POOL6
    names: int = MOST_NAMES
    file: str | None = None
    """Where the map outlives the process; None where it need not."""


@dataclass(frozen=True, slots=True)
class DNSConfig:
    """How names are answered, and whose queries are."""

    groups: Mapping[str, GroupConfig]
    plan: ResolverPlan
    fake_ip: FakeIP | None = None
    scope: AddressTest | None = None
    """The addresses, packed, whose port 53 is answered; None for every address. Other queries are flows like any."""
    cache_entries: int = 10_000
    cache_size: int = 8 << 20
    """Bytes."""
    stale: float = 86_400.0
    """Seconds for which an answer may be served beyond its life when nobody answers; 0 for never."""
    block_encrypted: bool = False
    """True if clients' DNS over TLS, QUIC and HTTPS is refused, so that they come here."""
    resolvers: PublicResolvers = field(default_factory=known_resolvers)
    """Who these are."""
