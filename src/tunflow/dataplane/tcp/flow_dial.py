"""Dialling for a flow: its first address by itself, and the race of all of them once that is slow or has failed.

Most flows have one address, or an answer at once: a race costs calls that these do not need (docs/adr/0074).
"""

from __future__ import annotations

import errno
import socket
from typing import Protocol

from tunflow.contained import Contained
from tunflow.dataplane.context import FlowContext
from tunflow.endpoint import Address
from tunflow.loop.reactor import EDGE, READ, READ_HANGUP, URGENT, WRITE
from tunflow.outbound.dialing import Dialing
from tunflow.protocols.contract import CodecRoute

EVENTS = READ | READ_HANGUP | URGENT | EDGE
"""What is waited for on a socket that stands."""

_WAIT = {errno.EAGAIN, errno.EINPROGRESS, errno.EALREADY}


class DialOwner(Protocol):
    """Who has a flow dialled."""

    def on_event(self, events: int) -> None:
        """Hear of the socket's events, WRITE when it is connected and from then on."""

    def dialled(self, sock: socket.SocketType | None, error: int) -> None:
        """A race has brought a socket, which is connected, and 0; or None and the errno that says most."""

    def cut(self) -> None:
        """Something went wrong in dialling: end the flow."""


class FlowDial(Contained):
    """Dials at once. Raises OSError when there is no descriptor for it.

    With `may_stand` the socket may be connected already, as on one host, and `events` are without WRITE then.
    """

    __slots__ = ("_context", "_owner", "_route", "address", "begun_at", "events", "race", "socket")

    def __init__(self, context: FlowContext, route: CodecRoute, owner: DialOwner, may_stand: bool) -> None:
        self._context = context
        self._route = route
        self._owner = owner
        self.race: Dialing[socket.SocketType] | None = None
        """The race for the flow, while there is one."""
        self.address = address = route.addresses[0]
        """Where `socket` goes."""
        self.begun_at = context.reactor.now
        """In seconds of the loop's clock."""
        self.socket = sock = context.sockets.open_stream(address.family)
        """The first address's; once there was a race, the one that won."""
        try:
            if route.codec is not None:
                # tcp(7): the first bytes leave within FIRST_PAYLOAD_DELAY and carry the handshake's last ACK, so the
                # proxy wakes up once. Without a proxy the far side may speak first and must not wait for us.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            error = sock.connect_ex(address.sockaddr)
            if may_stand and error == errno.EINPROGRESS:
                error = sock.connect_ex(address.sockaddr)  # on one host the handshake is over by now
            self.events = EVENTS if may_stand and not error else EVENTS | WRITE
            """What is waited for: WRITE tells that the socket is connected, where that is not known already."""
            if not error or error in _WAIT:  # one that failed at once would tell that too, and not why
                context.reactor.add(sock.fileno(), self.events, owner.on_event)
        except OSError:
            context.reactor.remove(sock.fileno())
            sock.close()
            raise
        if error and error not in _WAIT:
            # Told in the next round, when whoever dials is ready to hear it.
            context.reactor.call_soon(lambda: self.failed(error))
        elif error and (len(route.addresses) > 1 or (route.server is not None and route.server.has_choice)):
            context.dials.add(self, sock)

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return "dialling"

    def cut(self) -> None:
        """As `Contained.cut`: the flow ends with it."""
        self.cancel()
        self._context.reactor.remove(self.socket.fileno())
        self.socket.close()
        self._owner.cut()

    def failed(self, error: int) -> None:
        """The first address did not answer, for the reason that `error` (an errno) is: try the others, or give up."""
        if self.race is not None or self.socket.fileno() < 0:
            return
        if len(self._route.addresses) == 1 and self._route.server is None:
            self._owner.dialled(None, error)
        else:
            self._begin_race().failed(self.address, error)

    def dial_is_slow(self, sock: socket.SocketType) -> None:
        """As `DiallingFlow.dial_is_slow`: the others join in."""
        if self.race is None:
            try:
                sock.getpeername()
            except OSError:  # it is not connected
                self._begin_race()

    def cancel(self) -> None:
        """End the race, if there is one; nothing is told any more."""
        if self.race is not None:
            self.race.cancel()
            self.race = None

    def _begin_race(self) -> Dialing[socket.SocketType]:
        context = self._context
        self.race = Dialing(
            context.reactor,
            self._route.addresses,
            lambda address: context.sockets.open_stream(address.family),
            self._on_dialled,
            server=self._route.server,
            begun=(self.socket, self.begun_at),
            spare=context.slots,
        )
        return self.race

    def _on_dialled(self, sock: socket.SocketType | None, address: Address | None, error: int) -> None:
        """How the race ended."""
        self.race = None
        if sock is not None and address is not None:
            self.socket, self.address = sock, address
            self.events = EVENTS | WRITE  # which is told at once
            self._context.reactor.add(sock.fileno(), self.events, self._owner.on_event)
        self._owner.dialled(sock, error)
