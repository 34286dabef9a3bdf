"""A local port for clients that know proxies only: SOCKS5, SOCKS4, SOCKS4a and HTTP on one, and a PAC file.

It is made of the parts of the Shadowsocks server (`server`): the same listener, relays and bounds, with another service
for the client and a dialer as the way out.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from tunflow.endpoint import Endpoint
from tunflow.flow import TCP
from tunflow.inbound.flow_note import NoteFlow
from tunflow.inbound.forwarding import Forwarding, SiteTraffic
from tunflow.inbound.kept_names import KeptNames
from tunflow.inbound.listen_udp import ListenDatagrams
from tunflow.inbound.listening_sockets import Listener, listening_sockets
from tunflow.inbound.proxy_service import ListenContext, ProxyService
from tunflow.inbound.relay import Relay
from tunflow.inbound.server_context import DESCRIPTORS, ServerContext
from tunflow.inbound.udp import endpoint_of
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
        descriptors: int = DESCRIPTORS,
        note: NoteFlow | None = None,
        ask_anyway: Sequence[str] = (),
    ) -> None:
        """`note` is told of each flow on its way; `ask_anyway` are special names that the way out is asked for."""
        kept = KeptNames(dialer, ask_anyway)
        pairs = listening_sockets(host, port)
        self.addresses = [endpoint_of(stream.getsockname()) for stream, _ in pairs]
        """Where it listens."""
        self.shared = ServerContext.on(reactor, log, allow_local=True, descriptors=descriptors, kept=kept)
        self._relays: set[Relay] = set()
        self._forwardings: set[Forwarding] = set()
        self._note = note
        self._datagrams = [ListenDatagrams(self.shared, bound, dialer, note) for _, bound in pairs]
        self._listeners = [
            Listener(self.shared, stream, partial(self._welcome, ListenContext(dialer, credentials, datagrams, note)))
            for (stream, _), datagrams in zip(pairs, self._datagrams, strict=True)
        ]

    @property
    def waiting(self) -> int:
        """Bytes of forwarded requests and answers that wait for who takes them slowly."""
        return sum(forwarding.waiting for forwarding in self._forwardings)

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
        self.shared.close()

    def _welcome(self, way: ListenContext, client: socket.socket, peer: str) -> None:
        service = partial(ProxyService, way, partial(self._forward, way))
        self._relays.add(Relay(self.shared, client, peer, service, self._relays.discard))

    def _forward(self, way: ListenContext, client: socket.socket, peer: str, first: bytes) -> None:
        """The client sends whole HTTP requests."""
        ended = self._forwardings.discard
        note = None
        if way.note is not None:
            with suppress(OSError):  # it has reset the connection already
                note = _note_site(way.note, endpoint_of(client.getpeername()))
        self._forwardings.add(Forwarding(self.shared, client, peer, first, way.dialer, way.credentials, ended, note))


def _note_site(note: NoteFlow, client: Endpoint) -> Callable[[Endpoint, SiteTraffic], None]:
    def noted(target: Endpoint, traffic: SiteTraffic) -> None:
        note(TCP, client, traffic, target)

    return noted
