"""A Shadowsocks server: TCP and UDP on one port, relayed to whatever target the client names.

Read first: SIP004 (shadowsocks-org, docs/doc/aead.md), SIP022. The parts, one noun a file: `Listener` accepts,
`Relay` carries one stream, `UDPListener` and `UDPAssociation` carry datagrams, `SilentPeers` keeps those
who do not know the key, `Resolver` and `Connecting` reach the targets, `DescriptorBudget` and `CauseLog`
keep them all within bounds.

Rules: one thread, one reactor, nothing blocks; memory is bounded by the descriptors (a stream holds one
read's worth in each direction at most); the error of one flow ends that flow and is told in one line for
each cause.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping

from tunflow.endpoint import Endpoint
from tunflow.inbound.budget import DescriptorBudget
from tunflow.inbound.codecs import ServerCodecs
from tunflow.inbound.listening_sockets import Listener, listening_sockets
from tunflow.inbound.pipe import READ_SIZE
from tunflow.inbound.relay import Counters, Relay, Surroundings
from tunflow.inbound.resolver import Resolver
from tunflow.inbound.silence import SilentPeers
from tunflow.inbound.udp import UDPListener, endpoint_of
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.protocols.shadowsocks.settings import ShadowsocksServer

DESCRIPTORS = 1024
"""The usual soft limit of open files."""


class Server:
    """Listens as `spec` says from the moment it is made, and serves while `reactor` runs.

    An empty `spec.host` means all addresses of the machine, port 0 a free port (see `addresses`).
    `descriptors` is how many files the process may have open. Targets found in `rewrite` are reached at the
    endpoint given there, and what that answers over UDP comes from the target again. Raises LocalError when
    it cannot listen.
    """

    def __init__(
        self,
        reactor: Reactor,
        spec: ShadowsocksServer,
        *,
        log: Callable[[str], None],
        rng: Callable[[int], bytes] = os.urandom,
        descriptors: int = DESCRIPTORS,
        rewrite: Mapping[Endpoint, Endpoint] | None = None,
    ) -> None:
        self._codecs = ServerCodecs(spec, rng)
        pairs = listening_sockets(spec.host, spec.port)
        self.addresses = [endpoint_of(stream.getsockname()) for stream, _ in pairs]
        """Where the server listens, TCP and UDP."""
        budget = DescriptorBudget(descriptors)
        scratch = memoryview(bytearray(READ_SIZE))
        self._shared = Surroundings(
            reactor=reactor,
            rng=rng,
            log=CauseLog(log, lambda: reactor.now),
            budget=budget,
            resolver=Resolver(reactor),
            silence=SilentPeers(reactor, budget, scratch),
            scratch=scratch,
            rewrite=rewrite or {},
        )
        self._relays: set[Relay] = set()
        self._listeners = [Listener(self._shared, stream, self._welcome) for stream, _ in pairs]
        self._udp_listeners = [UDPListener(self._shared, bound, self._codecs.datagrams) for _, bound in pairs]

    @property
    def counters(self) -> Counters:
        """What has been done so far."""
        return self._shared.counters

    @property
    def descriptors_used(self) -> int:
        """Descriptors that flows and silent peers hold now."""
        return self._shared.budget.used

    def close(self) -> None:
        """Stop listening and end all flows; everything that was opened is closed."""
        for listener in self._listeners:
            listener.close()
        for udp_listener in self._udp_listeners:
            udp_listener.close()
        for relay in tuple(self._relays):
            relay.abort()
        self._shared.silence.close()
        self._shared.resolver.close()

    def _welcome(self, client: socket.socket, peer: str) -> None:
        self._relays.add(Relay(self._shared, client, peer, self._codecs.stream(), self._relays.discard))
