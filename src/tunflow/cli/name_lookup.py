"""Looks a name up as a profile says, without a tunnel: through its servers, by its resolvers, with what they said."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace

from tunflow.addresses import ip_address
from tunflow.cli.dns_modes import Place, dns_config, name_server
from tunflow.cli.flows import name_service
from tunflow.cli.routed import Routed, route
from tunflow.dns.config import SERVERS, DNSConfig, Group
from tunflow.dns.resolver import Lookup, Plan
from tunflow.dns.selection import OneGroup
from tunflow.dns.upstream import parse_upstream
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import UNMARKED
from tunflow.profiles.profile import Profile
from tunflow.tunnel.explain import LookedUp

PATIENCE = 12.0
"""Seconds for both kinds of addresses."""


def look_up(profile: Profile, name: str) -> LookedUp:
    """What the profile's resolvers say about a name. Raises LocalError for a profile that is wrong."""
    routed = route(profile)
    config = _config(routed)
    return _ask_system(name) if config is None else _ask(routed, config, name)


def _config(routed: Routed) -> DNSConfig | None:
    """Who is asked; None for the system's resolver."""
    mode = routed.profile.dns.mode
    config = routed.dns or dns_config(mode)
    if config is not None:
        return replace(config, fake_ip=None)  # real addresses are asked for, and the map on disk is somebody's
    service = name_service(mode)
    if service is None:
        return None
    upstream = parse_upstream(f"{'tcp' if service.over_tcp else 'udp'}://{service.resolver}")
    return DNSConfig({SERVERS: Group((upstream,))}, Plan(OneGroup(SERVERS)))


def _ask(routed: Routed, config: DNSConfig, name: str) -> LookedUp:
    reactor = Reactor()
    log = CauseLog(lambda _: None, lambda: reactor.now)
    steps: list[str] = []

    def finished(lookup: Lookup, outcome: str) -> None:
        steps.extend([str(step) for step in lookup.selection.steps] or [outcome])

    found: list[Sequence[bytes]] = []
    place = Place(reactor, routed.dialer, UNMARKED, log)
    names = name_server(place, config, routed.routing.dialer, finished)
    names.resolve(name, found.append)
    deadline = reactor.now + PATIENCE
    while not found and reactor.now < deadline:
        reactor.run_once(0.2)
    names.close()
    reactor.close()
    addresses = [str(ip_address(each)) for each in (found[0] if found else ())]
    return LookedUp(addresses, steps or ["known without asking" if addresses else "nobody answered"])


def _ask_system(name: str) -> LookedUp:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return LookedUp((), [f"the system's resolver: {error}"])
    addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
    return LookedUp(addresses, [f"the system's resolver: {', '.join(addresses)}"])
