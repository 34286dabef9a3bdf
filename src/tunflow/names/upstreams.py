"""Makes what asks one resolver: UDP, TCP, TLS, HTTPS or QUIC, through a dialer."""

from __future__ import annotations

from collections.abc import Callable

from tunflow.dns.upstream import Upstream
from tunflow.endpoint import Buffer, Endpoint
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import SocketOptions
from tunflow.names.exchange import Cancel, Ended, Heard, Upstreams
from tunflow.names.stream import DNSStream
from tunflow.names.stream_resolver import DNSSession, Lost, MessageSession, Received, StreamResolver
from tunflow.names.udp import UDPResolver
from tunflow.outbound.client import StreamClient
from tunflow.protocols.contract import DatagramRoute, NoDatagrams, Outbound, StreamRoute

OpenBy = Callable[[StreamRoute, Received, Lost], DNSSession]
"""Opens a connection by a way."""
Bootstrap = Callable[[str, Callable[[bytes | None], None]], None]
"""Finds the packed address of a resolver by its name."""


def make_upstream(
    reactor: Reactor,
    upstream: Upstream,
    dialer: Callable[[], Outbound],
    sockets: SocketOptions,
    draw: Callable[[int], int],
    bootstrap: Bootstrap | None = None,
    mutation: bool = False,
) -> Upstreams:
    """What asks `upstream` through the dialer of the moment. With `bootstrap` its name is looked up first, once."""
    if bootstrap is not None:
        assert isinstance(upstream.target.host, str)
        return _Named(
            upstream.label,
            upstream.target.host,
            bootstrap,
            lambda address: _make(
                reactor, upstream, Endpoint(address, upstream.target.port), dialer, sockets, draw, mutation
            ),
            reactor,
        )
    return _make(reactor, upstream, upstream.target, dialer, sockets, draw, mutation)


def _make(
    reactor: Reactor,
    upstream: Upstream,
    target: Endpoint,
    dialer: Callable[[], Outbound],
    sockets: SocketOptions,
    draw: Callable[[int], int],
    mutation: bool,
) -> Upstreams:
    if upstream.transport == "tor":
        from tunflow.names.tor import TorResolver  # noqa: PLC0415 (which few need)

        return TorResolver(reactor, dialer, sockets)

    def stream(open_by: OpenBy) -> StreamResolver:
        def open_session(received: Received, lost: Lost) -> DNSSession:
            return open_by(dialer().stream(target), received, lost)

        return StreamResolver(reactor, upstream.label, open_session, draw, pads=upstream.transport in {"tls", "https"})

    def datagrams() -> DatagramRoute:
        route = dialer().datagrams()
        if not isinstance(route, DatagramRoute):
            # Such a way hangs on a stream of its own: then the resolver is asked over one at once.
            raise NoDatagrams(f"{route.label}: UDP needs a stream")
        return route

    if upstream.transport == "quic":
        from tunflow.names.quic import open_quic  # noqa: PLC0415 (aioquic, which few need)

        opens = open_quic(reactor, upstream.label, target, upstream.name, datagrams, sockets)
        return StreamResolver(reactor, upstream.label, opens, draw, pads=True)
    if upstream.transport == "https":
        return stream(_https(reactor, upstream, sockets))
    if upstream.transport != "udp":
        return stream(_messages(reactor, upstream, sockets))
    over_tcp = stream(_messages(reactor, upstream, sockets))
    return UDPResolver(reactor, upstream.label, target, datagrams, over_tcp, sockets, draw, mutation=mutation)


def _messages(reactor: Reactor, upstream: Upstream, sockets: SocketOptions) -> OpenBy:
    def open_session(route: StreamRoute, received: Received, lost: Lost) -> DNSSession:
        tls = None
        if upstream.transport == "tls":
            from tunflow.outbound.tls_context import client_context  # noqa: PLC0415 (OpenSSL, which few need)
            from tunflow.protocols.transport.tls import TLSClient  # noqa: PLC0415

            tls = TLSClient(client_context(), upstream.name)
        return MessageSession(lambda message: DNSStream(reactor, route, message, lost, sockets, tls), received)

    return open_session


def _https(reactor: Reactor, upstream: Upstream, sockets: SocketOptions) -> OpenBy:
    def open_session(route: StreamRoute, received: Received, lost: Lost) -> DNSSession:
        from tunflow.names.http import HTTPSession  # noqa: PLC0415 (h2, which few need)
        from tunflow.outbound.tls_context import client_context  # noqa: PLC0415
        from tunflow.protocols.transport.tls import TLSClient  # noqa: PLC0415

        tls = TLSClient(client_context("h2"), upstream.name)

        def open_client(data: Callable[[Buffer], None], gone: Lost) -> StreamClient:
            return StreamClient(reactor, route, data, gone, sockets, tls)

        port = upstream.target.port
        host = upstream.name if ":" not in upstream.name else f"[{upstream.name}]"
        authority = host if port == 443 else f"{host}:{port}"
        return HTTPSession(authority, upstream.path, open_client, received, lost)

    return open_session


class _Named:
    """A resolver whose name is looked up when it is first asked; again if that failed."""

    def __init__(
        self,
        label: str,
        name: str,
        bootstrap: Bootstrap,
        make: Callable[[bytes], Upstreams],
        reactor: Reactor,
    ) -> None:
        self.label = label
        self._name = name
        self._bootstrap = bootstrap
        self._make = make
        self._reactor = reactor
        self._found: Upstreams | None = None

    def ask(self, query: bytes, heard: Heard, ended: Ended) -> Cancel:
        """As `Upstreams.ask`."""
        if self._found is not None:
            return self._found.ask(query, heard, ended)
        cancels: list[Cancel] = []
        over = False

        def found(address: bytes | None) -> None:
            if self._found is None and address is not None:
                self._found = self._make(address)
            if over:
                return
            if self._found is None:
                ended(f"its name {self._name} cannot be looked up", self._reactor.now)
            else:
                cancels.append(self._found.ask(query, heard, ended))

        def cancel() -> None:
            nonlocal over
            over = True
            for each in cancels:
                each()

        self._bootstrap(self._name, found)
        return cancel

    def reconnect(self) -> None:
        """As `Upstreams.reconnect`."""
        if self._found is not None:
            self._found.reconnect()

    def close(self) -> None:
        """Give everything back."""
        if self._found is not None:
            self._found.close()
