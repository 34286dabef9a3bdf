"""A stream of a session as a socket, for code that reads and writes sockets: one end of a pair, the other served here.

What ends out of order ends here as an orderly end does, so this is for streams of tunflow's own (names, health checks,
what a server is asked), whose protocols say when they are whole; a client's flow is joined by `dataplane.tcp.conduits`.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from tunflow.conduit import ClientConduit, Conduit
from tunflow.contained import Contained
from tunflow.endpoint import Address, Buffer
from tunflow.errors import BadPacket
from tunflow.loop.reactor import READ, WRITE, Reactor
from tunflow.protocols.contract import Dialled, NotDialled, SessionCarrier

PIECE = 64 * 1024
"""Bytes moved at a time."""


class ConduitDialing(Contained):
    """As `outbound.dialing.Dialing`: the outcome is told from a later round, and not at all after `cancel`."""

    __slots__ = ("_give_up", "_outcome", "_reactor")

    def __init__(
        self,
        reactor: Reactor,
        carrier: SessionCarrier,
        dial: Callable[[Dialled, SessionCarrier], Callable[[], None]],
        outcome: Callable[[socket.socket | None, Address | None, NotDialled], None],
    ) -> None:
        self._reactor = reactor
        self._outcome = outcome
        self._give_up = dial(self._dialled, carrier)

    about = "a connection in a tunnel"

    def cut(self) -> None:
        """As `Contained.cut`."""
        self.cancel()
        self._reactor.call_soon(lambda: self._outcome(None, None, errno.ECONNABORTED))

    def cancel(self) -> None:
        """Give up."""
        self._give_up()

    def _dialled(self, conduit: Conduit | None, error: NotDialled) -> None:
        if conduit is None:
            self._outcome(None, None, error)
            return
        try:
            ours, theirs = socket.socketpair()
        except OSError as failure:
            conduit.abort()
            self._outcome(None, None, failure.errno or errno.EMFILE)
            return
        theirs.setblocking(False)
        _Pump(self._reactor, conduit, ours)
        self._outcome(theirs, None, 0)


class _Pump(Contained):
    """Moves bytes between a conduit and our end of the pair, until both directions are over."""

    __slots__ = ("_conduit", "_done_down", "_done_up", "_events", "_pending", "_reactor", "_socket")

    def __init__(self, reactor: Reactor, conduit: Conduit, sock: socket.socket) -> None:
        self._reactor = reactor
        self._conduit = conduit
        self._socket = sock
        self._pending: Buffer = b""
        """Bytes for the socket."""
        self._done_up = self._done_down = False
        self._events = READ
        sock.setblocking(False)
        reactor.add(sock.fileno(), READ, self._on_event)
        conduit.user = self
        self.service()

    about = "a connection in a tunnel"

    def cut(self) -> None:
        """As `Contained.cut`."""
        self._end()

    def rebind(self, stream: ClientConduit) -> None:
        """As `StreamOwner.rebind`."""
        self._conduit = stream

    def service(self) -> None:
        """As `StreamOwner.service`."""
        if self._socket.fileno() < 0:
            return
        conduit = self._conduit
        try:
            while not self._done_down:
                if not self._pending:
                    if not conduit.readable:
                        break
                    self._pending = b"".join(conduit.take(PIECE))
                self._pending = memoryview(self._pending)[self._socket.send(self._pending) :]
        except BlockingIOError:
            pass
        except (OSError, BadPacket):  # the latter: a server that refuses the stream
            self._end()
            return
        is_over = conduit.closed and (conduit.was_reset or not (self._pending or conduit.readable))
        if not self._pending and (conduit.at_eof or is_over) and not self._done_down:
            self._done_down = True
            self._socket.shutdown(socket.SHUT_WR)
        if is_over or (self._done_up and self._done_down):
            self._end()
        else:
            self._watch()

    def _on_event(self, events: int) -> None:
        if events & ~WRITE and not self._done_up:
            self._read()
        self.service()

    def _read(self) -> None:
        conduit, now = self._conduit, self._reactor.now
        try:
            while (room := min(conduit.send_room, PIECE)) > 0:
                data = self._socket.recv(room)
                if not data:
                    self._done_up = True
                    conduit.close_write(now)
                    return
                conduit.send([data], now)
        except BlockingIOError:
            return
        except OSError:
            self._end()

    def _watch(self) -> None:
        events = (WRITE if self._pending else 0) | (0 if self._done_up or self._conduit.send_room <= 0 else READ)
        if events != self._events:
            self._events = events
            self._reactor.modify(self._socket.fileno(), events)

    def _end(self) -> None:
        if self._socket.fileno() >= 0:
            self._reactor.remove(self._socket.fileno())
            self._socket.close()
            self._conduit.user = None
            if not (self._done_up and self._done_down):
                self._conduit.abort()
