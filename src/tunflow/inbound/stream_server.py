"""A server of Trojan, VLESS or VMess: TCP and UDP in streams, in TLS or not, in WebSocket or not; for small use."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from functools import partial

from tunflow.errors import LocalError
from tunflow.inbound.listening_sockets import Listener, listening_sockets
from tunflow.inbound.relay import Relay
from tunflow.inbound.server_context import DESCRIPTORS, ServerContext
from tunflow.inbound.stream_service import LayeredStream, StreamService
from tunflow.inbound.udp import endpoint_of
from tunflow.loop.reactor import Reactor
from tunflow.protocols.chain import ChainedStream
from tunflow.protocols.codec import StreamCodec
from tunflow.protocols.transport.served import ServedStream, TLSServer, WebSocketServer
from tunflow.protocols.trojan.server import trojan_served
from tunflow.protocols.trojan.settings import TrojanServer
from tunflow.protocols.trojan.stream import key_of
from tunflow.protocols.user_id import user_id
from tunflow.protocols.vless.server import vless_served
from tunflow.protocols.vless.settings import VLESSServer
from tunflow.protocols.vmess.settings import VMessServer

StreamServerSettings = TrojanServer | VLESSServer | VMessServer
SERVED = ("tcp", "ws")
"""The networks of `type` that are served."""


class StreamServer:
    """Listens as `spec` says from the moment it is made, and serves while `reactor` runs.

    `users` are passwords or ids beside the link's own; `tls` is what it shows, where its link says TLS. Raises
    LocalError when it cannot listen, and for what is not served.
    """

    def __init__(
        self,
        reactor: Reactor,
        spec: StreamServerSettings,
        *,
        log: Callable[[str], None],
        users: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
        descriptors: int = DESCRIPTORS,
        allow_local: bool = False,
    ) -> None:
        self._transport = spec.transport
        if self._transport.network not in SERVED:
            raise LocalError(f"serve does not do type={self._transport.network}; {' and '.join(SERVED)} are served")
        if self._transport.reality is not None:
            raise LocalError("serve does no REALITY: security=tls with a certificate of its own is served")
        if isinstance(spec, VLESSServer) and spec.flow:
            raise LocalError(f"serve does not do flow={spec.flow}: VLESS without flow is served")
        if self._transport.tls and tls is None:
            raise LocalError("TLS needs a certificate: --certificate FILE --key FILE (or security=none in the link)")
        if self._transport.certificate is not None:
            raise LocalError("certificate= in a link is a client's; a server's is --certificate FILE")
        if tls is not None and not self._transport.tls:
            raise LocalError("--certificate goes with a link that says security=tls")
        self._tls = tls
        self._make = _maker(spec, users)
        pairs = listening_sockets(spec.host, spec.port)
        for _, datagrams in pairs:
            datagrams.close()
        self.addresses = [endpoint_of(stream.getsockname()) for stream, _ in pairs]
        """Where it listens."""
        self.shared = ServerContext.on(reactor, log, allow_local=allow_local, descriptors=descriptors)
        self._relays: set[Relay] = set()
        self._listeners = [Listener(self.shared, stream, self._welcome) for stream, _ in pairs]

    def close(self) -> None:
        """Stop listening and end all flows."""
        for listener in self._listeners:
            listener.close()
        for relay in tuple(self._relays):
            relay.abort()
        self.shared.close()

    def _welcome(self, client: socket.socket, peer: str) -> None:
        protocol = self._make()
        whole: StreamCodec = protocol
        if self._transport.network == "ws":
            whole = ChainedStream(WebSocketServer(self._transport.path), whole)
        if self._tls is not None:
            whole = ChainedStream(TLSServer(self._tls), whole)
        service = partial(StreamService, LayeredStream(whole, protocol))
        self._relays.add(Relay(self.shared, client, peer, service, self._relays.discard))


def _maker(spec: StreamServerSettings, users: Sequence[str]) -> Callable[[], ServedStream]:
    """Makes the protocol's codec of one stream. Raises LocalError for a user that is none."""
    if isinstance(spec, TrojanServer):
        keys = frozenset(key_of(password) for password in (spec.password, *users))
        return lambda: trojan_served(keys)
    if isinstance(spec, VMessServer):
        return _vmess_maker(spec, users)
    ids = frozenset(user_id(user).bytes for user in (spec.user, *users))
    return lambda: vless_served(ids)


def _vmess_maker(spec: VMessServer, users: Sequence[str]) -> Callable[[], ServedStream]:
    """Raises LocalError for a user that is none."""
    from tunflow.protocols.vmess.server import VMessServerStream, VMessUsers  # noqa: PLC0415 (which few need)

    known = VMessUsers((spec.user, *users), time.time)
    return lambda: VMessServerStream(known, os.urandom)
