"""Servers in order made into one way out: each is laid on the hop before it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tunflow.endpoint import Address
from tunflow.errors import LocalError
from tunflow.loop.socket_address import address_of
from tunflow.outbound.direct import DirectOutbound, FirstHop
from tunflow.protocols.contract import Carries, Outbound, OutboundContext, Settings
from tunflow.protocols.registry import parse_server

if TYPE_CHECKING:
    import ssl

Find = Callable[[str, int], tuple[Address, ...]]
"""Finds the addresses of a server. Raises LocalError."""


def make_outbound(servers: Sequence[Settings], find: Find | None = None) -> Outbound:
    """The way out through `--server` links in order, first hop first. Raises LocalError.

    The first hop's name is resolved here, outside the tunnel, once: a resolver that fails later does no harm. By
    default the system's is asked; `find` is asked instead.
    """
    if not servers:
        raise LocalError("no server given: use --server URL or the environment variable TUNFLOW_SERVER")
    ground: Outbound = DirectOutbound()
    below = ground
    for server in servers:
        if server.first_hop is not None and below is ground:
            below = FirstHop((find or resolve)(*server.first_hop))
        made = server.outbound(OutboundContext(os.urandom, time.time, _tls, address_of, below))
        if made is below and below is not ground:  # what goes straight out cannot be reached through a server
            raise LocalError(f"{server.label} can only be the first server of a chain")
        below = made
    return below


def outbound_of(links: Sequence[str], find: Find | None = None) -> Outbound:
    """The way out through the servers of links, as `make_outbound`. Raises LocalError."""
    return make_outbound([parse_server(link) for link in links], find)


def goes_direct(outbound: Outbound) -> bool:
    """Return True if flows leave for their targets themselves, which must then be addresses."""
    return Carries.NAMES not in outbound.carries


def _tls(*alpn: str, verified: bool = True) -> ssl.SSLContext:
    from tunflow.outbound.tls_context import client_context  # noqa: PLC0415  (ssl is not for who does not use it)

    return client_context(*alpn, verified=verified)


def resolve(host: str, port: int) -> tuple[Address, ...]:
    """The addresses of a server by the system's resolver, in the order to try them. Raises LocalError; blocks."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise LocalError(f"the server's name {host!r} cannot be resolved: {reason}") from error
    addresses = [
        Address(family, sockaddr)
        for family, _, _, _, sockaddr in found
        if family in {socket.AF_INET, socket.AF_INET6} and len(sockaddr) in {2, 4} and isinstance(sockaddr[0], str)
    ]
    if not addresses:
        raise LocalError(f"the server's name {host!r} has no IPv4 or IPv6 address")
    return tuple(dict.fromkeys(addresses))
