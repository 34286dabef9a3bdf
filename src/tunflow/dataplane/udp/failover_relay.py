"""A UDP relay to a server that has several addresses, or a name: it goes where the server answers.

UDP itself does not say whether an address works, so TCP is asked, which most servers take on the same port: before the
first datagram leaves, when nobody has reached the server yet, and when datagrams leave and none comes back. The codec
stays when the address changes, and with it the session that the server knows.
"""

from __future__ import annotations

import socket

from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.udp.relay import CarriedFlow, UDPRelay
from tunflow.endpoint import Address, Endpoint
from tunflow.loop.path import Path
from tunflow.outbound.dialing import Dialing
from tunflow.protocols.contract import DatagramRoute
from tunflow.protocols.server_addresses import ServerAddresses
from tunflow.stack.udp import UDPMapping, UDPRun

WAITING = 32
"""Runs of datagrams kept until it is known where to; more are dropped, as a full queue would."""

UNHEARD = 2.0
"""Seconds in which datagrams left and none came, after which TCP is asked."""

ASKED_AGAIN = 30.0
"""Seconds until it is asked again although the address was the right one: what is sent may need no answer."""

PATIENCE = 10.0
"""Seconds for TCP to say."""


class FailoverRelay:
    """Stands in for a `UDPRelay`. Raises OSError when there is no descriptor for it."""

    def __init__(self, context: FlowContext, mapping: UDPMapping, route: DatagramRoute, seen: Endpoint | None) -> None:
        assert route.server is not None
        self._context = context
        self._mapping = mapping
        self._route = route
        self._seen = seen
        self._server: ServerAddresses = route.server
        self._translated: dict[Endpoint, Endpoint] = {}
        self._waiting: list[tuple[UDPRun, CarriedFlow]] = []
        self._dialing: Dialing[socket.SocketType] | None = None
        self._address = self._server.in_order[0]
        self._relay = self._open()
        self._look_at = context.reactor.now + UNHEARD
        self._looked_at = context.reactor.now
        self._is_held = self._server.best is None and len(self._server.in_order) > 1
        """True if datagrams wait, because nobody knows yet which address works."""
        if self._is_held:
            self._ask()

    @property
    def path(self) -> Path | None:
        """As `UDPRelay.path`."""
        return self._relay.path

    def translate(self, inside: Endpoint, outside: Endpoint) -> None:
        """As `UDPRelay.translate`."""
        self._translated[inside] = outside
        self._relay.translate(inside, outside)

    def send(self, run: UDPRun, flow: CarriedFlow) -> None:
        """As `UDPRelay.send`."""
        if self._is_held:
            if len(self._waiting) < WAITING:
                self._waiting.append((run, flow))
            return
        now = self._context.reactor.now
        if now >= self._look_at and self._dialing is None:
            self._look(now)
        self._relay.send(run, flow)

    def close(self) -> None:
        """Give everything back."""
        self._waiting.clear()
        if self._dialing is not None:
            self._dialing.cancel()
            self._dialing = None
        self._relay.close()

    # Where to.

    def _look(self, now: float) -> None:
        """See whether the server has been heard since the last time."""
        heard_at = self._relay.heard_at
        is_heard = heard_at is not None and heard_at >= self._looked_at
        self._looked_at = now
        self._look_at = now + UNHEARD
        if is_heard:
            if self._server.best is None:
                self._server.worked(self._address)
        elif self._server.best is not None and self._server.best != self._address:
            self._move(self._server.best)
        else:
            self._ask()

    def _ask(self) -> None:
        context = self._context
        self._dialing = Dialing(
            context.reactor,
            self._server.in_order,
            lambda address: context.sockets.open_stream(address.family),
            self._on_dialled,
            server=self._server,
            patience=PATIENCE,
            spare=context.slots,
        )

    def _on_dialled(self, sock: socket.SocketType | None, address: Address | None, _error: int) -> None:
        self._dialing = None
        is_right = address == self._address
        self._look_at = self._context.reactor.now + (ASKED_AGAIN if is_right else UNHEARD)
        if sock is not None and address is not None:
            sock.close()
            self._move(address)
        else:  # the server takes no TCP here, or is dead: any address may be the right one
            self._move(self._next())
        if self._is_held:
            self._is_held = False
            waiting, self._waiting = self._waiting, []
            for run, flow in waiting:
                self._relay.send(run, flow)

    def _next(self) -> Address:
        """The address behind the one in use, for who knows nothing better."""
        known = self._server.in_order
        if self._is_held or self._address not in known:
            return known[0]
        return known[(known.index(self._address) + 1) % len(known)]

    def _move(self, address: Address) -> None:
        if address == self._address:
            return
        before, was_at, self._address = self._relay, self._address, address
        try:
            self._relay = self._open()
        except OSError:
            self._address = was_at
            return
        before.close()
        for inside, outside in self._translated.items():
            self._relay.translate(inside, outside)

    def _open(self) -> UDPRelay:
        return UDPRelay(self._context, self._mapping, self._route._replace(addresses=(self._address,)), self._seen)
