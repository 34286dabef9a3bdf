"""`--dns MODE`, and `mode` of a profile's `[dns]`: what it may say.

tcp, udp                  the usual resolver, asked so through the server, for queries to the tunnel's own addresses
tcp://…, udp://…, ADDRESS the same with a resolver of your own
cache,RESOLVER            every query to port 53, whomever it is for
tls://… https://… quic://… the same
fake                      the same with fake addresses; what needs a real one is looked up over TCP through the server
fake,RESOLVER             the same with a resolver of your own
tor                       Tor's own resolution, and fake addresses for .onion; the default where the last server is Tor
off                       nobody answers names: queries are flows like any
"""

from __future__ import annotations

from dataclasses import replace

from tunflow.dns.answers import HTTPS, PTR, SVCB
from tunflow.dns.config import SERVERS, DNSConfig, FakeIP, GroupConfig
from tunflow.dns.real_names import is_real_by_nature
from tunflow.dns.resolver_plan import ResolverPlan
from tunflow.dns.selection import AddressTest, OneGroup
from tunflow.dns.special_names import stays_here
from tunflow.dns.upstream import TOR, parse_upstream
from tunflow.errors import LocalError

EVERY_QUERY = "cache,tcp://1.1.1.1"
"""What answers every query, whomever it is for: a program that asks a resolver of its own choice is answered, too,
whatever the server makes of UDP."""

DEFAULT_RESOLVER = "1.1.1.1"
"""A public resolver: the host's own is mostly an address of its LAN, which the server cannot reach."""

_ACCEPTED = (
    "use tcp, udp, tcp://ADDRESS[:PORT], udp://ADDRESS[:PORT], ADDRESS, fake[,RESOLVER], cache,RESOLVER, "
    "tls://[NAME@]ADDRESS, https://[NAME@]ADDRESS/dns-query, quic://[NAME@]ADDRESS or off"
)


def names_of_mode(mode: str, own: AddressTest) -> DNSConfig | None:
    """What a mode means; None leaves names alone.

    `own` are the addresses, packed, that stand for the tunnel's resolver where a mode does not take every query. Raises
    LocalError.
    """
    if mode == "off":
        return None
    if mode == "tor":
        return _by_tor()
    kind, comma, resolver = mode.partition(",")
    if kind in {"fake", "cache"}:
        if not resolver and (comma or kind == "cache"):
            raise LocalError(
                f"dns mode {mode!r}: a resolver is missing behind the comma, such as tls://dns.google@8.8.8.8"
            )
        return _by(resolver or f"tcp://{DEFAULT_RESOLVER}", FakeIP() if kind == "fake" else None)
    if mode.startswith(("tls://", "https://", "quic://")):
        return _by(mode)
    return replace(_by(_small(mode)), scope=own)


def _by(resolver: str, fake_ip: FakeIP | None = None) -> DNSConfig:
    """Raises LocalError."""
    upstream = parse_upstream(resolver, default="tcp")
    plan = ResolverPlan(OneGroup(SERVERS), must_be_real=is_real_by_nature, stays=stays_here)
    return DNSConfig({SERVERS: GroupConfig((upstream,))}, plan, fake_ip)


def _by_tor() -> DNSConfig:
    plan = ResolverPlan(
        OneGroup(SERVERS),
        must_be_real=_is_no_onion,
        hides=_is_beside_addresses,
        stays=_stays_out_of_tor,
    )
    return DNSConfig({SERVERS: GroupConfig((TOR,))}, plan, FakeIP())


def _is_no_onion(name: str) -> bool:
    return not name.endswith(".onion")


def _is_beside_addresses(_: str, kind: int) -> bool:
    """Return True for what browsers ask for beside every address."""
    return kind in {HTTPS, SVCB}


def _stays_out_of_tor(name: str, kind: int) -> bool:
    """Return True unless Tor answers. It refuses internal addresses (ClientRejectInternalAddresses) either way."""
    return kind != PTR and not name.endswith(".onion") and stays_here(name, kind)


def _small(mode: str) -> str:
    """The resolver of a mode that names one by its address, or none. Raises LocalError."""
    if mode in {"tcp", "udp"}:
        return f"{mode}://{DEFAULT_RESOLVER}"
    try:
        upstream = parse_upstream(mode, default="tcp")
    except LocalError:
        raise LocalError(f"dns mode {mode!r} is not understood: {_ACCEPTED}") from None
    if upstream.transport not in {"tcp", "udp"} or isinstance(upstream.target.host, str):
        raise LocalError(f"dns mode {mode!r} is not understood: {_ACCEPTED}")
    return mode
