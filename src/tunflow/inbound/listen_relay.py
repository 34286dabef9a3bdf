"""One connection of an old client: what it wants is asked of the servers, and then bytes go both ways.

A `relay.Relay` whose client speaks SOCKS or HTTP, and whose way out is a dialer's. What the servers answer is
what the client is told, in its own protocol's words.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.inbound.client_request import Inbound, Wish, pac, page
from tunflow.inbound.connect import why
from tunflow.inbound.pipe import Pipe
from tunflow.inbound.relay import Relay, Surroundings
from tunflow.inbound.udp import endpoint_of
from tunflow.loop.sockets import UNMARKED
from tunflow.outbound.client import StreamClient
from tunflow.outbound.dialer import Blocked, NoDatagrams, StreamRoute
from tunflow.outbound.dialers import Dialer, DirectDialer
from tunflow.protocols.codec import ProxyRefused, Refusal, StreamCodec

if TYPE_CHECKING:
    from tunflow.inbound.listen_udp import ListenDatagrams

FIRST_PAYLOAD_SECONDS = 0.01
"""As in `tcp_relay`: how long a codec's first bytes wait for the client's."""

ANSWER_SECONDS = 60.0
"""For the servers to say whether the target is reached."""

PAC_PATH = "/proxy.pac"
PAC_KIND = "application/x-ns-proxy-autoconfig"

_REFUSALS = {
    errno.ECONNREFUSED: Refusal.REFUSED,
    errno.ENETUNREACH: Refusal.NET_UNREACHABLE,
    errno.EHOSTUNREACH: Refusal.HOST_UNREACHABLE,
    errno.EADDRNOTAVAIL: Refusal.HOST_UNREACHABLE,
    errno.ETIMEDOUT: Refusal.TIMED_OUT,
}


@dataclass(frozen=True, slots=True)
class Way:
    """What the relays of one port share: where flows go, and who carries datagrams."""

    dialer: Dialer
    credentials: tuple[str, str] | None
    datagrams: ListenDatagrams


class ListenRelay(Relay):
    """Carries one stream, or holds the connection that a client's UDP association hangs on."""

    def __init__(
        self, shared: Surroundings, client: socket.socket, peer: str, way: Way, ended: Callable[[Relay], None]
    ) -> None:
        self._inbound = Inbound(way.credentials)
        super().__init__(shared, client, peer, self._inbound, ended)
        self._way = way
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
        if inbound.wish is Wish.PAGE:
            self._tell(self._page(inbound.path))
            self.close()
        elif inbound.wish is Wish.ASSOCIATE:
            self._associate()
        elif inbound.target is not None:
            self._connect(inbound.target)
        elif up.ended:
            self.close()

    def _page(self, path: str) -> bytes:
        if path.partition("?")[0] == PAC_PATH:
            return page("200 OK", pac(str(endpoint_of(self._client.getsockname()))), kind=PAC_KIND)
        return page("404 Not Found", f"this is a proxy; its configuration file is {PAC_PATH}\n")

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
        dialer = self._way.dialer
        if isinstance(dialer, DirectDialer):
            super()._connect(target)
            return
        try:
            route = dialer.route(target)
        except Blocked as blocked:
            self._refuse(Refusal.PROHIBITED, str(blocked))
            return
        except ProxyRefused as refused:
            self._refuse(refused.refusal, str(refused))
            return
        self._begin()
        self._outer = route.codec
        self._connecting = _Dialing(self, self._shared, route)

    def dialled(self, outward: socket.socket, early: list[Buffer], tail: bytes) -> None:
        """The servers agreed; `early` bytes of the flow came with that, and `tail`, the start of a record."""
        outer = self._outer
        assert outer is not None
        if outer.transparent:
            self._outer = None
        elif self._up.pending:
            self._up.pending = outer.seal(self._up.pending)
        else:
            self._shared.reactor.call_later(FIRST_PAYLOAD_SECONDS, self._open_without_payload)
        self._down.give_back(tail)
        self._on_outward_socket(outward, [self._inbound.accepted(), *early])

    def not_dialled(self, refusal: Refusal, reason: str) -> None:
        """The servers refused, or could not be reached."""
        self._shared.log.tell(f"connect {reason}", f"{self._way.dialer.label}: {self._inbound.target}: {reason}")
        self._refuse(refusal, reason)

    def _open_without_payload(self) -> None:
        if not self._closed and self._outer is not None and not self._up.pending:
            self._up.pending = self._outer.seal([])
            self._pump()

    def _on_connect(self, target: Endpoint, outward: socket.socket | None, error: int) -> None:
        if outward is None:
            self._shared.log.tell(f"connect {target} {error}", f"cannot reach {target}: {why(error)}")
            self._refuse(_REFUSALS.get(error, Refusal.FAILED), why(error))
            return
        self._on_outward_socket(outward, [self._inbound.accepted()])

    def _on_outward_socket(self, outward: socket.socket, first: list[Buffer]) -> None:
        self._down.pending = [piece for piece in first if piece]
        self._carry(outward)

    # Datagrams.

    def _associate(self) -> None:
        host = endpoint_of(self._client.getpeername()).host
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


class _Dialing:
    """The way to the servers, until they agreed."""

    def __init__(self, relay: ListenRelay, shared: Surroundings, route: StreamRoute) -> None:
        self._relay = relay
        self._early: list[Buffer] = []
        reactor = shared.reactor
        self._timer = reactor.call_later(ANSWER_SECONDS, lambda: self._lost(os.strerror(errno.ETIMEDOUT), False))
        self._client = StreamClient(reactor, route, self._early.append, self._lost, UNMARKED, opened=self._opened)

    def cancel(self) -> None:
        """The client is gone."""
        self._timer.cancel()
        self._client.close()

    def _opened(self) -> None:
        self._timer.cancel()
        outward, tail = self._client.take_socket()
        self._relay.dialled(outward, self._early, tail)

    def _lost(self, why: str, _established: bool) -> None:
        self.cancel()
        self._relay.not_dialled(self._client.refusal or Refusal.FAILED, why)
