"""Servers in order made into one way out: each is laid on the hop before it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from tunflow.errors import LocalError
from tunflow.loop.socket_address import address_of
from tunflow.outbound.direct import DirectOutbound, FirstHop
from tunflow.outbound.lookup import find_by_system
from tunflow.protocols.contract import Carries, Outbound, OutboundContext, Sessions, Settings, Tunnels
from tunflow.protocols.direct.settings import DirectServer
from tunflow.protocols.registry import parse_server
from tunflow.protocols.server_addresses import ServerAddresses

if TYPE_CHECKING:
    import ssl

Find = Callable[[str, int], ServerAddresses]
"""Finds where a server is. Raises NoAddress, or LocalError for what is no name."""


def make_outbound(
    servers: Sequence[Settings],
    find: Find | None = None,
    tunnels: Tunnels | None = None,
    sessions: Sessions | None = None,
) -> Outbound:
    """The way out through `--server` links in order, first hop first. Raises LocalError or NoAddress.

    The first hop's name is resolved here, outside the tunnel: a resolver that fails later does no harm. By default the
    system's is asked, and asked again when the server does not answer; `find` is asked instead. `tunnels` run what
    carries packets, and `sessions` keep connections that flows share; such servers are an error without them.
    """
    if not servers:
        raise LocalError("no server given: use --server URL or the environment variable TUNFLOW_SERVER")
    check_chain(servers)
    ground: Outbound = DirectOutbound()
    below = ground
    for server in servers:
        if server.first_hop is not None and below is ground:
            below = FirstHop((find or find_by_system)(*server.first_hop))
        below = server.outbound(OutboundContext(os.urandom, time.time, _tls, address_of, below, tunnels, sessions))
    return below


def check_chain(servers: Sequence[Settings]) -> None:
    """Raise LocalError unless the servers can be laid on each other in this order."""
    for before, server in pairwise(servers):
        # What goes straight out cannot be reached through a server.
        if isinstance(server, DirectServer) and not isinstance(before, DirectServer):
            raise LocalError(f"{server.label} can only be the first server of a chain")


def outbound_of(links: Sequence[str], find: Find | None = None) -> Outbound:
    """The way out through the servers of links, as `make_outbound`. Raises LocalError or NoAddress."""
    return make_outbound([parse_server(link) for link in links], find)


def goes_direct(outbound: Outbound) -> bool:
    """Return True if flows leave for their targets themselves, which must then be addresses."""
    return Carries.NAMES not in outbound.carries


def _tls(*alpn: str, verified: bool = True, identity: tuple[str, str | None] | None = None) -> ssl.SSLContext:
    from tunflow.outbound.tls_context import client_context  # noqa: PLC0415  (ssl is not for who does not use it)

    return client_context(*alpn, verified=verified, identity=identity)
