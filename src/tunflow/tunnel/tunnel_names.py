"""Who answers names in a tunnel: the name server that a plan describes, with the ways out that it asks through."""

from __future__ import annotations

from collections.abc import Callable

from tunflow.dataplane.driver import Driver
from tunflow.dns.config import DNSConfig
from tunflow.dns.upstream import DIRECT, TUNNEL
from tunflow.errors import LocalError
from tunflow.outbound.direct import DirectOutbound
from tunflow.protocols.contract import Outbound
from tunflow.tunnel.outbounds import nowhere

FindOutbound = Callable[[str], Outbound | None]
"""Finds the server or group of a name; None where there is none."""


def use_names(
    driver: Driver, config: DNSConfig | None, default: Callable[[], Outbound], find: FindOutbound | None
) -> None:
    """Have a driver's names answered so, also in place of what answered them. Raises LocalError."""
    context, admission = driver.context, driver.admission
    if config is None:
        admission.use_names(None)
        return
    from tunflow.dataplane.served_names import ServedNames  # noqa: PLC0415 - its parts are for who wants it
    from tunflow.names.name_server import NameServer  # noqa: PLC0415

    through = asked_through(default, find)
    if isinstance(admission.names, ServedNames):
        admission.names.server.reconfigure(config, through)
    else:
        server = NameServer(context.reactor, config, through, context.sockets, context.log)
        admission.use_names(ServedNames(server))


def asked_through(default: Callable[[], Outbound], find: FindOutbound | None = None) -> Callable[[str], Outbound]:
    """Finds the way out that a resolver is asked through now, by its name; raises LocalError where there is none.

    A group that was a way out and then refuses, since somebody chose that, leads nowhere.
    """
    straight = DirectOutbound()
    known: set[str] = set()

    def outbound(via: str) -> Outbound:
        if via == TUNNEL:
            return default()
        if via == DIRECT:
            return straight
        found = find(via) if find is not None else None
        if found is not None:
            known.add(via)
        elif via in known:
            return nowhere()
        else:
            raise LocalError(f"dns: no server is called {via!r}; behind # stands direct, a port, or a name for TLS")
        return found

    return outbound
