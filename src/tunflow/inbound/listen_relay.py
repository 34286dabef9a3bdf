"""One connection of an old client: what it wants is asked of the servers, and then bytes go both ways.

A `relay.Relay` whose client speaks SOCKS or HTTP, and whose way out is a dialer's. What the servers answer is
what the client is told, in its own protocol's words.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.inbound.client_request import Inbound, Wish
from tunflow.inbound.pipe import Pipe
from tunflow.inbound.relay import Relay, Surroundings
from tunflow.inbound.udp import endpoint_of
from tunflow.inbound.way_out import Reached, reach
from tunflow.protocols.codec import Refusal, StreamCodec
from tunflow.protocols.contract import Blocked, NoDatagrams, Outbound

if TYPE_CHECKING:
    from tunflow.inbound.listen_udp import ListenDatagrams

FIRST_PAYLOAD_SECONDS = 0.01
"""As in `tcp_relay`: how long a codec's first bytes wait for the client's."""


@dataclass(frozen=True, slots=True)
class Way:
    """What the relays of one port share: where flows go, and who carries datagrams."""

    dialer: Outbound
    credentials: tuple[str, str] | None
    datagrams: ListenDatagrams


class ListenRelay(Relay):
    """Carries one stream, or holds the connection that a client's UDP association hangs on."""

    def __init__(
        self,
        shared: Surroundings,
        client: socket.socket,
        peer: str,
        way: Way,
        ended: Callable[[Relay], None],
        forward: Callable[[socket.socket, str, bytes], None],
    ) -> None:
        self._inbound = Inbound(way.credentials)
        super().__init__(shared, client, peer, self._inbound, ended)
        self._way = way
        self._forward = forward
        self._outer: StreamCodec | None = None
        self._associated: bytes | None = None
        self._up = Pipe(client, self._turn_up, shared.scratch)
        self._down = Pipe(None, self._turn_down, shared.scratch)

    def close(self) -> None:
        """As `Relay.close`."""
        if self._associated is not None:
            self._way.datagrams.release(self._associated)
            self._associated = None
        super().close()

    # The pipes.

    def _turn_up(self, view: memoryview) -> tuple[list[Buffer], int]:
        pieces, used = self._inbound.open_untrusted(view)
        return (pieces if self._outer is None else self._outer.seal(pieces)), used

    def _turn_down(self, view: memoryview) -> tuple[list[Buffer], int]:
        return ([bytes(view)], len(view)) if self._outer is None else self._outer.open_untrusted(view)

    # The client's wish.

    def _read_header(self) -> None:
        if self._associated is not None:
            self._hold()
            return
        inbound, up = self._inbound, self._up
        try:
            while up.readable and inbound.wish is None and not up.ended:
                up.fill()
                self._tell(b"".join(inbound.say))
                inbound.say.clear()
        except BadPacket as error:
            self._tell(b"".join(inbound.say))
            self._shared.counters.refused += 1
            self._shared.log.tell(f"refused: {error}", f"{self._peer}: {error}")
            self.close()
            return
        except OSError:
            self.close()
            return
        if inbound.wish is Wish.FORWARD:
            self._hand_over()
        elif inbound.wish is Wish.ASSOCIATE:
            self._associate()
        elif inbound.target is not None:
            self._connect(inbound.target)
        elif up.ended:
            self.close()

    def _hand_over(self) -> None:
        """Have the client's requests forwarded: the connection is not this relay's any more."""
        self._shared.reactor.remove(self._client.fileno())
        self._leave(0)
        self._forward(self._client, self._peer, b"".join(self._up.pending))

    def _tell(self, words: bytes) -> None:
        """A few bytes, which an idle socket always takes."""
        if words:
            with contextlib.suppress(OSError):
                self._client.send(words)

    def _refuse(self, refusal: Refusal, detail: str) -> None:
        self._tell(self._inbound.refused(refusal, detail))
        self.close()

    # Streams.

    def _connect(self, target: Endpoint) -> None:
        self._begin()
        self._connecting = reach(self._shared, self._way.dialer, target, self)

    def reached(self, way: Reached) -> None:
        """As `way_out.Outcome.reached`."""
        outer = self._outer = way.codec
        if outer is not None and self._up.pending:
            self._up.pending = outer.seal(self._up.pending)
        elif outer is not None:
            self._shared.reactor.call_later(FIRST_PAYLOAD_SECONDS, self._open_without_payload)
        self._down.give_back(way.tail)
        self._down.pending = [piece for piece in (self._inbound.accepted(), *way.early) if piece]
        self._carry(way.outward)

    def not_reached(self, refusal: Refusal, reason: str) -> None:
        """As `way_out.Outcome.not_reached`."""
        self._refuse(refusal, reason)

    def _open_without_payload(self) -> None:
        if not self._closed and self._outer is not None and not self._up.pending:
            self._up.pending = self._outer.seal([])
            self._pump()

    # Datagrams.

    def _associate(self) -> None:
        try:
            host = endpoint_of(self._client.getpeername()).host
        except OSError:  # it has reset the connection already
            self.close()
            return
        assert isinstance(host, bytes)
        try:
            self._way.datagrams.admit(host)
        except Blocked as error:
            none = isinstance(error, NoDatagrams)
            self._refuse(Refusal.UNSUPPORTED if none else Refusal.PROHIBITED, str(error))
            return
        self._associated = host
        self._begin()
        self._tell(self._inbound.accepted(endpoint_of(self._client.getsockname())))

    def _hold(self) -> None:
        """The association ends with this connection; what else comes on it means nothing."""
        try:
            while self._client.recv(4096):
                pass
        except BlockingIOError:
            return
        except OSError:
            pass
        self.close()
