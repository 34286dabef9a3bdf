"""The dialers: straight to the target, through proxies of any kinds, or nowhere.

A chain of servers is one dialer: the socket goes to the first, the codecs nest, and each server is asked for the next
one by name. So a flow through three servers still costs one descriptor.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket, LocalError
from tunflow.flow import FlowInfo
from tunflow.loop.socket_address import Address, address_of
from tunflow.outbound.dialer import Association, Blocked, DatagramDialer, DatagramRoute, StreamDialer, StreamRoute
from tunflow.outbound.hops import ProxyServer, TorHop, make_hop
from tunflow.protocols.chain import ChainedDatagrams, ChainedStream
from tunflow.protocols.codec import DatagramCodec, StreamCodec
from tunflow.protocols.link import BlockServer, DirectServer, Server
from tunflow.protocols.socks.client5 import Socks5Client


class DirectDialer(StreamDialer, DatagramDialer):
    """Straight to the target, which must be an address."""

    label = DirectServer.label
    is_proxy = False
    wants_flow = False
    tor = None
    addresses = ()

    def route(self, target: Endpoint, flow: FlowInfo | None = None) -> StreamRoute:  # noqa: ARG002
        """The target itself."""
        return StreamRoute((address_of(target),), None, self.label)

    def datagram_route(self) -> DatagramRoute:
        """Each target itself."""
        return DatagramRoute((), None, self.label)


class BlockDialer(StreamDialer, DatagramDialer):
    """Nowhere."""

    label = BlockServer.label
    is_proxy = False
    wants_flow = False
    tor = None
    addresses = ()

    def route(self, target: Endpoint, flow: FlowInfo | None = None) -> StreamRoute:  # noqa: ARG002
        """Raises Blocked."""
        raise Blocked(f"{target} is blocked by block://")

    def datagram_route(self) -> DatagramRoute:
        """Raises Blocked."""
        raise Blocked("blocked by block://")


class ProxyDialer(StreamDialer, DatagramDialer):
    """Through one server, or several in the order given; `addresses` are the first one's."""

    is_proxy = True

    def __init__(self, servers: Sequence[ProxyServer], addresses: tuple[Address, ...]) -> None:
        self.label = " -> ".join(server.label for server in servers)
        self.addresses = addresses
        self._hops = [make_hop(server) for server in servers]
        tor = self._hops[-1]
        self.tor = tor if isinstance(tor, TorHop) else None
        """The last server if it is Tor, which looks names up by itself."""
        self.wants_flow = any(isinstance(hop, TorHop) and hop.wants_flow for hop in self._hops)

    def route(self, target: Endpoint, flow: FlowInfo | None = None) -> StreamRoute:
        """The first server's addresses, and a codec that asks the last one for `target`."""
        hops = self._hops
        if len(hops) == 1:
            return StreamRoute(self.addresses, hops[0].stream(target, flow), self.label)
        return self.through(len(hops) - 1, hops[-1].stream(target, flow), flow)

    def through(self, hop: int, last: StreamCodec, flow: FlowInfo | None = None) -> StreamRoute:
        """A stream to the server of number `hop`, on which `last` speaks."""
        codec: StreamCodec | None = None
        for index in range(hop):
            inner = self._hops[index].stream(self._hops[index + 1].endpoint, flow)
            codec = inner if codec is None else ChainedStream(codec, inner)
        return StreamRoute(self.addresses, last if codec is None else ChainedStream(codec, last), self.label)

    def resolution(self, question: Socks5Client) -> StreamRoute:
        """A stream to Tor that asks `question` (`TorHop.resolve`)."""
        return self.through(len(self._hops) - 1, question)

    def datagram_route(self) -> DatagramRoute | Association:
        """The first server's addresses and a codec for datagrams to any target, once those that must be asked for that
        have agreed. Raises NoDatagrams."""
        associations = [hop.associate() for hop in self._hops]
        controls = tuple(self.through(index, asks) for index, asks in enumerate(associations) if asks is not None)
        if not controls:
            return DatagramRoute(self.addresses, self._datagram_codec([hop.endpoint for hop in self._hops]), self.label)

        def settle(reached: Address) -> DatagramRoute:
            first = _endpoint_of(reached)
            places = [
                hop.endpoint if asks is None else _relay(asks, hop.endpoint if index else first)
                for index, (hop, asks) in enumerate(zip(self._hops, associations, strict=True))
            ]
            address = address_of(places[0]) if associations[0] is not None else reached
            return DatagramRoute((address,), self._datagram_codec(places), self.label)

        return Association(controls, settle, self.label)

    def _datagram_codec(self, places: Sequence[Endpoint]) -> DatagramCodec:
        """A codec through all servers, whose datagrams go to `places`."""
        codec = self._hops[0].datagrams()
        for hop, place in zip(self._hops[1:], places[1:], strict=True):
            codec = ChainedDatagrams(codec, hop.datagrams(), place)
        return codec


def _relay(asked: Socks5Client, server: Endpoint) -> Endpoint:
    """Where a SOCKS5 server wants datagrams. Raises BadPacket.

    An address of zeros, as servers behind a translator give it, means the server's own.
    """
    bound = asked.bound
    if bound is None or not bound.port:
        raise BadPacket("the SOCKS5 server names no place for datagrams")
    host = server.host if isinstance(bound.host, bytes) and not any(bound.host) else bound.host
    if isinstance(host, str) and not isinstance(server.host, str):
        raise BadPacket(f"the SOCKS5 server wants datagrams at a name, {host}")
    return Endpoint(host, bound.port)


def _endpoint_of(address: Address) -> Endpoint:
    return Endpoint(socket.inet_pton(address.family, address.sockaddr[0].partition("%")[0]), address.sockaddr[1])


Dialer = DirectDialer | BlockDialer | ProxyDialer


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
    chain = [server for server in hops if not isinstance(server, DirectServer | BlockServer)]
    first = chain[0]
    return ProxyDialer(chain, (find or resolve)(first.host, first.port))


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
