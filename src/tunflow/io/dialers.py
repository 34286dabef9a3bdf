"""The dialers: straight to the target, through Shadowsocks servers, or nowhere.

A chain of servers is one dialer: the socket goes to the first, the codecs nest, and each server is asked for the next
one by name. So a flow through three servers still costs one descriptor.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence

from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import LocalError
from tunflow.io.dialer import Address, Blocked, DatagramDialer, DatagramRoute, StreamDialer, StreamRoute, address_of
from tunflow.proxies.chain import ChainedDatagrams, ChainedStream
from tunflow.proxies.codec import DatagramCodec, StreamCodec
from tunflow.proxies.link import BlockServer, DirectServer, Server, ShadowsocksServer
from tunflow.proxies.shadowsocks.datagram import Datagrams
from tunflow.proxies.shadowsocks.keys import master_key
from tunflow.proxies.shadowsocks.methods import METHODS
from tunflow.proxies.shadowsocks.replay import ReplayFilter
from tunflow.proxies.shadowsocks.stream import ClientStream


class DirectDialer(StreamDialer, DatagramDialer):
    """Straight to the target, which must be an address."""

    label = DirectServer.label
    is_proxy = False

    def route(self, target: Endpoint) -> StreamRoute:
        """The target itself."""
        return StreamRoute((address_of(target),), None, self.label)

    def datagram_route(self) -> DatagramRoute:
        """Each target itself."""
        return DatagramRoute((), None, self.label)


class BlockDialer(StreamDialer, DatagramDialer):
    """Nowhere."""

    label = BlockServer.label
    is_proxy = False

    def route(self, target: Endpoint) -> StreamRoute:
        """Raises Blocked."""
        raise Blocked(f"{target} is blocked by block://")

    def datagram_route(self) -> DatagramRoute:
        """Raises Blocked."""
        raise Blocked("blocked by block://")


class ShadowsocksDialer(StreamDialer, DatagramDialer):
    """Through one Shadowsocks server, or several in the order given; `addresses` are the first one's."""

    is_proxy = True

    def __init__(self, servers: Sequence[ShadowsocksServer], addresses: tuple[Address, ...]) -> None:
        self.label = " -> ".join(server.label for server in servers)
        self._addresses = addresses
        self._hops = [_Hop(server) for server in servers]

    def route(self, target: Endpoint) -> StreamRoute:
        """The first server's addresses, and a codec that asks the last one for `target`."""
        if len(self._hops) == 1:
            return StreamRoute(self._addresses, self._hops[0].stream(target), self.label)
        codec: StreamCodec | None = None
        for hop, asked in zip(self._hops, [*(hop.endpoint for hop in self._hops[1:]), target], strict=True):
            inner = hop.stream(asked)
            codec = inner if codec is None else ChainedStream(codec, inner)
        return StreamRoute(self._addresses, codec, self.label)

    def datagram_route(self) -> DatagramRoute:
        """The first server's addresses, and a codec for datagrams to any target."""
        codec: DatagramCodec = self._hops[0].datagrams
        for hop in self._hops[1:]:
            codec = ChainedDatagrams(codec, hop.datagrams, hop.endpoint)
        return DatagramRoute(self._addresses, codec, self.label)


class _Hop:
    """One server of a chain with its key."""

    def __init__(self, server: ShadowsocksServer) -> None:
        self.endpoint = endpoint(server.host, server.port)
        self._method = METHODS[server.method]
        self._key = master_key(server.password, self._method.key_size)
        self.datagrams = Datagrams(self._method, self._key, os.urandom, ReplayFilter())

    def stream(self, target: Endpoint) -> ClientStream:
        return ClientStream(self._method, self._key, target, os.urandom(self._method.salt_size))


Dialer = DirectDialer | BlockDialer | ShadowsocksDialer


Resolve = Callable[[str, int], tuple[Address, ...]]
"""Finds the addresses of a server. Raises LocalError."""


def make_dialer(servers: Sequence[Server], find: Resolve | None = None) -> Dialer:
    """The dialer for `--server` links in order, first hop first. Raises LocalError.

    The first hop's name is resolved here, outside the tunnel, once: a resolver that fails later does no harm. By
    default the system's is asked; `find` is asked instead.
    """
    if not servers:
        raise LocalError("no server given: use --server URL or the environment variable TUNFLOW_SERVER")
    # direct:// in front of other servers changes nothing; anywhere else it cannot be reached.
    hops = [server for server in servers if not isinstance(server, DirectServer)]
    if not hops:
        return DirectDialer()
    if isinstance(servers[-1], DirectServer):
        raise LocalError("direct:// can only be the first server of a chain")
    if any(isinstance(server, BlockServer) for server in hops):
        return BlockDialer()
    chain = [server for server in hops if isinstance(server, ShadowsocksServer)]
    first = chain[0]
    return ShadowsocksDialer(chain, (find or resolve)(first.host, first.port))


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
