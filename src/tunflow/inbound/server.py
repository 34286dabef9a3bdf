"""A Shadowsocks server: TCP and UDP on one port, relayed to whatever target the client names.

Read first: SIP004 (shadowsocks-org, docs/doc/aead.md), SIP022. The parts, one noun a file: `Listener` accepts,
`Relay` carries one stream as its service (`TargetService`) says, `UDPListener` and `UDPAssociation` carry datagrams,
`SilentPeers` keeps those who do not know the key, `InboundResolver` and `Connecting` reach the targets,
`DescriptorBudget` and `CauseLog` keep them all within bounds.

Rules: one thread, one reactor, nothing blocks; memory is bounded by the descriptors (a stream holds one
read's worth in each direction at most); the error of one flow ends that flow and is told in one line for
each cause.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tunflow.endpoint import Endpoint, SocketAddress
from tunflow.inbound.codecs import ServerCodecs
from tunflow.inbound.counters import Counters
from tunflow.inbound.listening_sockets import Listener, listening_sockets
from tunflow.inbound.relay import Relay
from tunflow.inbound.server_context import DESCRIPTORS, ServerContext
from tunflow.inbound.target_service import TargetService
from tunflow.inbound.udp import UDPListener, endpoint_of
from tunflow.loop.reactor import Reactor
from tunflow.protocols.shadowsocks.settings import ShadowsocksServer


class InboundServer:
    """Listens as `spec` says from the moment it is made, and serves while `reactor` runs.

    An empty `spec.host` means all addresses of the machine, port 0 a free port (see `addresses`).
    `descriptors` is how many files the process may have open. `allow_local`: clients may reach this host's addresses
    and those of its links, by whatever name. Targets found in `rewrite` are reached at the endpoint given there,
    local or not, and what that answers over UDP comes from the target again. Raises LocalError when it cannot listen.
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
        allow_local: bool = False,
        users: Sequence[str] = (),
    ) -> None:
        """`users` are the keys of a 2022 server's users, whom its own key leads to."""
        self._codecs = ServerCodecs(spec, rng, users)
        pairs = listening_sockets(spec.host, spec.port)
        self.addresses = [endpoint_of(stream.getsockname()) for stream, _ in pairs]
        """Where the server listens, TCP and UDP."""
        self.shared = ServerContext.on(
            reactor, log, allow_local=allow_local, descriptors=descriptors, rng=rng, rewrite=rewrite
        )
        self._relays: set[Relay] = set()
        self._listeners = [Listener(self.shared, stream, self._welcome) for stream, _ in pairs]
        self._udp_listeners = [UDPListener(self.shared, bound, self._codecs.datagrams) for _, bound in pairs]

    @property
    def counters(self) -> Counters:
        """What has been done so far."""
        return self.shared.counters

    @property
    def descriptors_used(self) -> int:
        """Descriptors that flows and silent peers hold now."""
        return self.shared.budget.used

    @property
    def waiting(self) -> int:
        """Bytes of TCP flows that wait for who takes them slowly."""
        return sum(relay.waiting for relay in self._relays)

    @property
    def associated(self) -> list[SocketAddress]:
        """The clients of the UDP associations; of each listening socket's the one that was idle longest first."""
        return [client for listener in self._udp_listeners for client in listener.clients]

    def close(self) -> None:
        """Stop listening and end all flows; everything that was opened is closed."""
        for listener in self._listeners:
            listener.close()
        for udp_listener in self._udp_listeners:
            udp_listener.close()
        for relay in tuple(self._relays):
            relay.abort()
        self.shared.close()

    def _welcome(self, client: socket.socket, peer: str) -> None:
        service = partial(TargetService, self._codecs.stream())
        self._relays.add(Relay(self.shared, client, peer, service, self._relays.discard))
