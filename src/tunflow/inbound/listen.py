"""A local port for clients that know proxies only: SOCKS5, SOCKS4, SOCKS4a and HTTP on one, and a PAC file.

It is made of the parts of the Shadowsocks server (`server`): the same listener, pipes and bounds, with the client's
protocol exchanged and a dialer as the way out.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial

from tunflow.inbound.budget import DescriptorBudget
from tunflow.inbound.forwarding import Forwarding
from tunflow.inbound.listen_relay import ListenRelay, Way
from tunflow.inbound.listen_udp import ListenDatagrams
from tunflow.inbound.listening_sockets import Listener, listening_sockets
from tunflow.inbound.pipe import READ_SIZE
from tunflow.inbound.relay import Relay, Surroundings
from tunflow.inbound.resolver import Resolver
from tunflow.inbound.silence import SilentPeers
from tunflow.inbound.udp import endpoint_of
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.protocols.contract import Outbound


class ListenServer:
    """Listens on `host` and `port` (0: a free one) from the moment it is made, and serves while `reactor` runs.

    Clients must show `credentials` (user name and password) if they are given. Raises LocalError when it cannot listen.
    """

    def __init__(
        self,
        reactor: Reactor,
        host: str,
        port: int,
        dialer: Outbound,
        *,
        log: Callable[[str], None],
        credentials: tuple[str, str] | None = None,
        descriptors: int = 1024,
    ) -> None:
        pairs = listening_sockets(host, port)
        self.addresses = [endpoint_of(stream.getsockname()) for stream, _ in pairs]
        """Where it listens."""
        budget = DescriptorBudget(descriptors)
        scratch = memoryview(bytearray(READ_SIZE))
        self._shared = Surroundings(
            reactor=reactor,
            rng=os.urandom,
            log=CauseLog(log, lambda: reactor.now),
            budget=budget,
            resolver=Resolver(reactor),
            silence=SilentPeers(reactor, budget, scratch),
            scratch=scratch,
            rewrite={},
        )
        self._relays: set[Relay] = set()
        self._forwardings: set[Forwarding] = set()
        self._datagrams = [ListenDatagrams(self._shared, bound, dialer) for _, bound in pairs]
        self._listeners = [
            Listener(self._shared, stream, partial(self._welcome, Way(dialer, credentials, datagrams)))
            for (stream, _), datagrams in zip(pairs, self._datagrams, strict=True)
        ]

    def close(self) -> None:
        """Stop listening and end all flows."""
        for listener in self._listeners:
            listener.close()
        for relay in tuple(self._relays):
            relay.abort()
        for forwarding in tuple(self._forwardings):
            forwarding.abort()
        for datagrams in self._datagrams:
            datagrams.close()
        self._shared.silence.close()
        self._shared.resolver.close()

    def _welcome(self, way: Way, client: socket.socket, peer: str) -> None:
        forward = partial(self._forward, way)
        self._relays.add(ListenRelay(self._shared, client, peer, way, self._relays.discard, forward))

    def _forward(self, way: Way, client: socket.socket, peer: str, first: bytes) -> None:
        """The client sends whole HTTP requests."""
        ended = self._forwardings.discard
        self._forwardings.add(Forwarding(self._shared, client, peer, first, way.dialer, way.credentials, ended))
