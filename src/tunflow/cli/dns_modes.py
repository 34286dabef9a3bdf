"""`--dns MODE`: what it may say, beside the small forwarder's modes (`cli.flows.name_service`).

fake                      fake addresses; what needs a real one is looked up over TCP through the server
fake,RESOLVER             the same with a resolver of your own
cache,RESOLVER            no fake addresses, but a cache, for every query to port 53 whomever it is for
tls://… or https://…      the same
tor                       Tor's own resolution, and fake addresses for .onion; the default where the last server is Tor
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tunflow.dns.answers import HTTPS, PTR, SVCB
from tunflow.dns.config import SERVERS, DNSConfig, FakeIP, Group
from tunflow.dns.real_names import is_real_by_nature
from tunflow.dns.resolver import Finished, Plan
from tunflow.dns.selection import OneGroup
from tunflow.dns.special_names import stays_here
from tunflow.dns.upstream import DIRECT, TOR, TUNNEL, parse_upstream
from tunflow.errors import LocalError
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import SocketOptions
from tunflow.names.name_server import DialerFor, NameServer
from tunflow.outbound.direct import DirectOutbound
from tunflow.protocols.contract import Outbound

DEFAULT_RESOLVER = "tcp://1.1.1.1"


def dns_config(mode: str) -> DNSConfig | None:
    """The configuration that `mode` asks for; None where the small forwarder does. Raises LocalError."""
    if mode == "tor":
        plan = Plan(
            OneGroup(SERVERS),
            must_be_real=lambda name: not name.endswith(".onion"),
            hides=lambda _, kind: kind in {HTTPS, SVCB},  # browsers ask for them beside every address
            # Tor itself refuses internal addresses (ClientRejectInternalAddresses), in either direction.
            stays=lambda name, kind: kind != PTR and not name.endswith(".onion") and stays_here(name, kind),
        )
        return DNSConfig({SERVERS: Group((TOR,))}, plan, FakeIP())
    kind, comma, resolver = mode.partition(",")
    fake = kind == "fake"
    if not fake and not mode.startswith(("tls://", "https://", "cache,")):
        return None
    if not fake and kind != "cache":
        resolver = mode
    elif comma and not resolver:
        raise LocalError(f"--dns {mode!r}: a resolver is missing behind the comma, such as tls://dns.google@8.8.8.8")
    upstream = parse_upstream(resolver or DEFAULT_RESOLVER, default="tcp")
    plan = Plan(OneGroup(SERVERS), must_be_real=is_real_by_nature, stays=stays_here)
    return DNSConfig({SERVERS: Group((upstream,))}, plan, FakeIP() if fake else None)


class Place(NamedTuple):
    """What a name server asks from."""

    reactor: Reactor
    dialer: Outbound
    """What a resolver is asked through, if nothing else is said."""
    sockets: SocketOptions
    """Of its own sockets."""
    log: CauseLog
    """Where it says what goes wrong."""


def name_server(
    place: Place,
    config: DNSConfig,
    find: Callable[[str], Outbound | None] | None = None,
    finished: Finished | None = None,
) -> NameServer:
    """The name server there. `find` knows the servers and groups of a profile; `finished` is told of lookups that end.

    Raises LocalError.
    """
    return NameServer(place.reactor, config, dialers(place, find), place.sockets, place.log, finished)


def dialers(place: Place, find: Callable[[str], Outbound | None] | None = None) -> DialerFor:
    """Finds the dialer that a resolver is asked through."""

    def dialer(via: str) -> Outbound:
        if via == TUNNEL:
            return place.dialer
        if via == DIRECT:
            return DirectOutbound()
        found = find(via) if find is not None else None
        if found is None:
            raise LocalError(f"dns: no server is called {via!r}; behind # stands direct, a port, or a name for TLS")
        return found

    return dialer
