"""One server of a chain: the codecs that ask it for a stream, and for datagrams where it carries such.

A hop knows nothing of those before and behind it (`dialers` puts them together). Its secrets are its own.
"""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING, Protocol

from tunflow.endpoint import Endpoint, endpoint
from tunflow.flow import FlowInfo
from tunflow.outbound.dialer import NoDatagrams
from tunflow.protocols.chain import ChainedStream
from tunflow.protocols.codec import DatagramCodec, StreamCodec
from tunflow.protocols.http.connect import HTTPConnectClient, basic
from tunflow.protocols.link import HTTPServer, ShadowsocksServer, SocksServer, TorServer
from tunflow.protocols.shadowsocks.datagram import Datagrams
from tunflow.protocols.shadowsocks.keys import master_key
from tunflow.protocols.shadowsocks.keys2022 import parse_keys
from tunflow.protocols.shadowsocks.methods import METHODS
from tunflow.protocols.shadowsocks.replay import ReplayFilter
from tunflow.protocols.shadowsocks.stream import ClientStream
from tunflow.protocols.socks import socks5
from tunflow.protocols.socks.client4 import Socks4Client
from tunflow.protocols.socks.client5 import Socks5Client, Socks5Datagrams
from tunflow.protocols.socks.socks5 import Credentials

if TYPE_CHECKING:
    import ssl

ProxyServer = ShadowsocksServer | SocksServer | HTTPServer | TorServer

ISOLATION_BYTES = 16
"""Random bytes of what tells Tor's circuits apart: nobody else's circuit is shared by accident."""


class Hop(Protocol):
    """One server."""

    endpoint: Endpoint
    """Where it is, as the one before it is asked for it."""

    def stream(self, target: Endpoint, flow: FlowInfo | None) -> StreamCodec:
        """A codec that asks for `target`. Raises ProxyRefused for what cannot be asked."""

    def associate(self) -> Socks5Client | None:
        """A codec for the stream that an association hangs on; None where none is needed. Raises NoDatagrams."""

    def datagrams(self) -> DatagramCodec:
        """A codec for one association."""


class ShadowsocksHop:
    """Shadowsocks, the AEAD edition."""

    def __init__(self, server: ShadowsocksServer) -> None:
        self.endpoint = endpoint(server.host, server.port)
        self._method = METHODS[server.method]
        self._key = master_key(server.password, self._method.key_size)
        self._datagrams = Datagrams(self._method, self._key, os.urandom, ReplayFilter())

    def stream(self, target: Endpoint, _flow: FlowInfo | None) -> StreamCodec:
        """As `Hop.stream`."""
        return ClientStream(self._method, self._key, target, os.urandom(self._method.salt_size))

    def associate(self) -> None:
        """As `Hop.associate`."""
        return

    def datagrams(self) -> DatagramCodec:
        """As `Hop.datagrams`; one serves all."""
        return self._datagrams


class Shadowsocks2022Hop:
    """Shadowsocks, the 2022 edition. Raises LocalError for a password that is no key."""

    def __init__(self, server: ShadowsocksServer) -> None:
        self.endpoint = endpoint(server.host, server.port)
        self._method = METHODS[server.method]
        self._keys = parse_keys(server.password, self._method.key_size, many=self._method.has_identities)

    def stream(self, target: Endpoint, _flow: FlowInfo | None) -> StreamCodec:
        """As `Hop.stream`."""
        # Imported when first used: `ss://` of the other edition starts without BLAKE3.
        from tunflow.protocols.shadowsocks.stream2022 import ClientStream2022  # noqa: PLC0415

        return ClientStream2022(self._method, self._keys, target, os.urandom, time.time)

    def associate(self) -> None:
        """As `Hop.associate`."""
        return

    def datagrams(self) -> DatagramCodec:
        """As `Hop.datagrams`: a session of its own."""
        from tunflow.protocols.shadowsocks.datagram2022 import ClientDatagrams2022  # noqa: PLC0415

        return ClientDatagrams2022(self._method, self._keys, os.urandom, time.time)


class Socks5Hop:
    """SOCKS5, with datagrams."""

    def __init__(self, server: SocksServer) -> None:
        self.endpoint = endpoint(server.host, server.port)
        self._optimistic = server.optimistic
        self._credentials = None if server.user is None else socks5.credentials(server.user, server.password or "")

    def stream(self, target: Endpoint, _flow: FlowInfo | None) -> StreamCodec:
        """As `Hop.stream`."""
        return Socks5Client(target, self._credentials, optimistic=self._optimistic)

    def associate(self) -> Socks5Client:
        """As `Hop.associate`."""
        return Socks5Client(socks5.ANYWHERE, self._credentials, command=socks5.UDP_ASSOCIATE)

    def datagrams(self) -> DatagramCodec:
        """As `Hop.datagrams`."""
        return Socks5Datagrams()


class _StreamsOnly:
    """A server that carries no datagrams."""

    def __init__(self, label: str, where: Endpoint) -> None:
        self._label = label
        self.endpoint = where

    def associate(self) -> None:
        """Raises NoDatagrams."""
        raise NoDatagrams(f"{self._label} carries no UDP")

    def datagrams(self) -> DatagramCodec:
        """Raises NoDatagrams."""
        raise NoDatagrams(f"{self._label} carries no UDP")


class Socks4Hop(_StreamsOnly):
    """SOCKS4 and 4a."""

    def __init__(self, server: SocksServer) -> None:
        super().__init__(server.label, endpoint(server.host, server.port))
        self._user = server.user or ""
        self._names = server.scheme == "socks4a"

    def stream(self, target: Endpoint, _flow: FlowInfo | None) -> StreamCodec:
        """As `Hop.stream`."""
        return Socks4Client(target, self._user, names=self._names)


class HTTPHop(_StreamsOnly):
    """HTTP CONNECT, over TLS for `https`."""

    def __init__(self, server: HTTPServer) -> None:
        super().__init__(server.label, endpoint(server.host, server.port))
        self._host = server.host
        self._authorization = None if server.user is None else basic(server.user, server.password or "")
        self._tls: ssl.SSLContext | None = None
        if server.scheme == "https":
            from tunflow.outbound.tls_context import client_context  # noqa: PLC0415  (ssl is not for who does not use it)

            self._tls = client_context()

    def stream(self, target: Endpoint, _flow: FlowInfo | None) -> StreamCodec:
        """As `Hop.stream`."""
        connect = HTTPConnectClient(target, self._authorization)
        if self._tls is None:
            return connect
        from tunflow.protocols.transport.tls import TLSClient  # noqa: PLC0415

        return ChainedStream(TLSClient(self._tls, self._host), connect)


class TorHop(_StreamsOnly):
    """Tor's SOCKS port. Its IsolateSOCKSAuth gives each user name and password circuits of their own."""

    def __init__(self, server: TorServer) -> None:
        super().__init__(server.label, endpoint(server.host, server.port))
        self._isolate = server.isolate
        self._optimistic = server.optimistic
        self._secret = os.urandom(ISOLATION_BYTES)

    @property
    def wants_flow(self) -> bool:
        """Whether circuits are told apart by program."""
        return self._isolate == "program"

    def stream(self, target: Endpoint, flow: FlowInfo | None) -> StreamCodec:
        """As `Hop.stream`."""
        return Socks5Client(target, self._identity(flow), optimistic=self._optimistic)

    def resolve(self, name: str) -> Socks5Client:
        """A codec whose `bound` becomes an address of `name`."""
        return self._query(socks5.RESOLVE, Endpoint(name, 0))

    def resolve_pointer(self, address: bytes) -> Socks5Client:
        """A codec whose `bound` becomes the name of an address."""
        return self._query(socks5.RESOLVE_PTR, Endpoint(address, 0))

    def _query(self, command: int, what: Endpoint) -> Socks5Client:
        return Socks5Client(what, self._identity(None), command=command)

    def _identity(self, flow: FlowInfo | None) -> Credentials:
        if self._isolate == "flow":
            who = os.urandom(ISOLATION_BYTES)
        elif self.wants_flow and flow is not None and flow.process is not None:
            program = flow.process.executable or flow.process.name or ""
            who = hashlib.blake2b(program.encode(), key=self._secret, digest_size=ISOLATION_BYTES).digest()
        else:
            who = self._secret
        return Credentials(who.hex().encode(), b"")


def make_hop(server: ProxyServer) -> Hop:
    """The hop for a link. Raises LocalError."""
    if isinstance(server, ShadowsocksServer):
        return Shadowsocks2022Hop(server) if METHODS[server.method].is_2022 else ShadowsocksHop(server)
    if isinstance(server, SocksServer):
        return Socks5Hop(server) if server.scheme == "socks5" else Socks4Hop(server)
    return HTTPHop(server) if isinstance(server, HTTPServer) else TorHop(server)
