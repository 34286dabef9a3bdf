"""One connection to a resolver that speaks DNS over TCP, or over TLS: messages out and in.

Read first: RFC 7766 (TCP), RFC 7858 (TLS: the same, inside).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tunflow.dns.messages import Deframer, frame
from tunflow.endpoint import Buffer
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import SocketOptions
from tunflow.outbound.client import StreamClient
from tunflow.protocols.contract import StreamRoute

if TYPE_CHECKING:
    from tunflow.protocols.transport.tls import TLSClient


class DNSStream:
    """Dials at once. `received` is called with each message; `lost` once, with the reason in words and whether the
    connection had stood. Neither is called from within `send` or the constructor, nor after `close`.
    """

    def __init__(
        self,
        reactor: Reactor,
        route: StreamRoute,
        received: Callable[[bytes], None],
        lost: Callable[[str, bool], None],
        sockets: SocketOptions,
        tls: TLSClient | None = None,
    ) -> None:
        self._received = received
        self._deframer = Deframer()
        self._client = StreamClient(reactor, route, self._bytes, lost, sockets, tls)

    @property
    def heard_at(self) -> float | None:
        """When bytes last came, in the reactor's time."""
        return self._client.heard_at

    def send(self, messages: list[bytes]) -> None:
        """Send messages, as soon as it is possible."""
        self._client.send([frame(message) for message in messages])

    def close(self) -> None:
        """Give the descriptor back."""
        self._client.close()

    def _bytes(self, data: Buffer) -> None:
        for message in self._deframer.receive(data):
            if self._client.closed:
                return
            self._received(message)
