"""Where a plan's flows go: its servers' addresses found, a dialer for each, and what its rules say."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from tunflow.dataplane.rule_policy import Routing
from tunflow.endpoint import Address
from tunflow.errors import LocalError, RemoteError
from tunflow.outbound.chain import outbound_of
from tunflow.protocols.contract import Outbound
from tunflow.rules.groups import Health
from tunflow.tunnel.plan import Hop, Plan
from tunflow.tunnel.routing import default_dialer, make_routing

Find = Callable[[str, int], Awaitable[tuple[Address, ...]]]
"""Finds the addresses of a host and port. Raises LocalError or RemoteError."""
Found = dict[Hop, tuple[Address, ...]]


class Ways(NamedTuple):
    """What a driver is given."""

    dialer: Outbound
    """For what no policy is asked about: names, pings, and everything where there is no policy."""
    routing: Routing | None
    """What the plan's rules say, where it has some."""


async def find_hops(plan: Plan, find: Find, known: Found | None = None) -> tuple[Found, list[str]]:
    """The addresses of all first hops, and what went wrong with some; `known` ones are kept where that is so.

    Raises LocalError or RemoteError when none is found although there are some.
    """
    results = await asyncio.gather(*(find(*hop) for hop in plan.first_hops), return_exceptions=True)
    found: Found = {}
    failures: list[LocalError | RemoteError] = []
    for hop, result in zip(plan.first_hops, results, strict=True):
        if isinstance(result, LocalError | RemoteError):
            failures.append(result)
            if known is not None and hop in known:
                found[hop] = known[hop]
        elif isinstance(result, BaseException):
            raise result
        else:
            found[hop] = result
    if failures and not found:
        raise failures[0]
    return found, [str(failure) for failure in failures]


def make_ways(plan: Plan, found: Found) -> Ways:
    """Dialers and routing. A server that was not found refuses its flows. Raises LocalError."""

    def find(host: str, port: int) -> tuple[Address, ...]:
        try:
            return found[host, port]
        except KeyError:
            raise LocalError(f"the server's name {host!r} cannot be resolved") from None

    def make(links: Sequence[str]) -> Outbound:
        return outbound_of(links, find)

    if not plan.has_rules:
        return Ways(make(plan.profile.server), None)
    routing = make_routing(plan.profile, Health(random.random), make, plan.table)
    return Ways(default_dialer(routing), routing)
