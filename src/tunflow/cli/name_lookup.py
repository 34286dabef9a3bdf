"""Looks a name up as a plan says, without a tunnel: through its servers, by its resolvers, with what they said."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace

from tunflow.addresses import ip_address
from tunflow.dns.config import DNSConfig
from tunflow.dns.lookup import PendingQuery
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.loop.rounds import serve_while
from tunflow.loop.sockets import UNMARKED
from tunflow.names.name_server import NameServer
from tunflow.tunnel.explain import LookedUp
from tunflow.tunnel.outbounds import Outbounds, find_hops_now, make_outbounds
from tunflow.tunnel.plan import Plan
from tunflow.tunnel.tunnel_names import asked_through

PATIENCE = 12.0
"""Seconds for both kinds of addresses."""


def look_up(plan: Plan, name: str) -> LookedUp:
    """What the plan's resolvers say about a name. Raises LocalError where none of its servers can be found."""
    if plan.names is None:
        return _ask_system(name)
    config = replace(plan.names, fake_ip=None)  # real addresses are asked for
    return _ask(make_outbounds(plan, find_hops_now(plan.first_hops)[0]), config, name)


def _ask(outbounds: Outbounds, config: DNSConfig, name: str) -> LookedUp:
    reactor = Reactor()
    outbounds.sessions.start(reactor, lambda _: None)
    log = CauseLog(lambda _: None, lambda: reactor.now)
    steps: list[str] = []

    def finished(lookup: PendingQuery, outcome: str) -> None:
        steps.extend([str(step) for step in lookup.selection.steps] or [outcome])

    found: list[Sequence[bytes]] = []
    through = asked_through(outbounds.find_default, None if outbounds.routing is None else outbounds.routing.dialer)
    names = NameServer(reactor, config, through, UNMARKED, log, finished)
    names.resolve(name, found.append)
    deadline = reactor.now + PATIENCE
    given_up = reactor.call_at(deadline, lambda: None)
    serve_while(
        reactor,
        lambda: not found and reactor.now < deadline,
        outbounds.sessions.close,
        coroutines=outbounds.sessions.wants_coroutines,
    )
    given_up.cancel()
    names.close()
    reactor.close()
    addresses = [str(ip_address(each)) for each in (found[0] if found else ())]
    return LookedUp(addresses, steps or ["known without asking" if addresses else "nobody answered"])


def _ask_system(name: str) -> LookedUp:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        return LookedUp((), [f"the system's resolver: {error}"])
    addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
    return LookedUp(addresses, [f"the system's resolver: {', '.join(addresses)}"])
