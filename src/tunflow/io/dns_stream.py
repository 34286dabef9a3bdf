"""One TCP connection to a resolver, through whatever servers its route names: DNS messages out and in.

The socket is level-triggered and written from the loop only, so that all queries of one round leave sealed together;
with the first of them goes what the codec must say first.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.io.dialer import StreamRoute
from tunflow.io.dns_messages import Deframer, frame
from tunflow.io.reactor import READ, WRITE, Reactor, Timer
from tunflow.io.sockets import SocketOptions

NEXT_ADDRESS_AFTER = 2.0
"""Seconds for a server's address to take the connection while another is left to try: two of them fit into the time
that a client waits for an answer."""

_RECEIVE_SIZE = 32 * 1024
_WRITE_PIECES = 64
"""Buffers in one `sendmsg`; Linux takes IOV_MAX (1024)."""


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
    ) -> None:
        self.heard_at: float | None = None
        """When bytes last came, in the reactor's time."""
        self._reactor = reactor
        self._codec = route.codec
        self._received = received
        self._lost = lost
        self._sockets = sockets
        self._addresses = list(route.addresses)
        self._waiting: list[bytes] = []
        """Framed messages, not sealed yet."""
        self._outgoing: list[Buffer] = []
        self._tail = b""
        self._deframer = Deframer()
        self._socket: socket.socket | None = None
        self._watched = 0
        self._established = False
        self._closed = False
        self._timer: Timer | None = None
        self._dial(errno.EADDRNOTAVAIL)

    def send(self, messages: list[bytes]) -> None:
        """Send messages, as soon as it is possible."""
        self._waiting += map(frame, messages)
        if self._established:
            self._watch(READ | WRITE)

    def close(self) -> None:
        """Give the descriptor back."""
        self._closed = True
        self._drop_socket()

    # Dialing.

    def _dial(self, error: int) -> None:
        """Start on the next address; with none left, it ends with `error`, that of the one before."""
        self._drop_socket()
        while self._addresses:
            address = self._addresses.pop(0)
            try:
                sock = self._sockets.open(address.family, socket.SOCK_STREAM)
            except OSError as failure:
                error = failure.errno or errno.EIO
                continue
            error = sock.connect_ex(address.sockaddr)
            if error not in (0, errno.EINPROGRESS):
                sock.close()
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = sock
            self._watched = WRITE
            self._reactor.add(sock.fileno(), WRITE, self._on_event)
            if self._addresses:
                self._timer = self._reactor.call_later(NEXT_ADDRESS_AFTER, lambda: self._dial(errno.ETIMEDOUT))
            return
        self._reactor.call_soon(lambda: self._end(os.strerror(error)))  # not from the constructor

    def _drop_socket(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._socket is not None:
            self._reactor.remove(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _end(self, why: str) -> None:
        if not self._closed:
            self.close()
            self._lost(why, self._established)

    # Events.

    def _on_event(self, events: int) -> None:
        sock = self._socket
        if sock is None:
            return
        try:
            if not self._established and not self._connected(sock):
                return
            if events & WRITE:
                self._write(sock)
            if events & ~WRITE:
                self._read(sock)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(error.strerror or str(error))
        except BadPacket as error:
            self._end(str(error))

    def _connected(self, sock: socket.socket) -> bool:
        """Whether the connection stands now; if this address failed, on to the next."""
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._dial(error)
            return False
        try:
            sock.getpeername()
        except OSError:  # an event of this round that was meant for a closed socket with the same number
            return False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._established = True
        return True

    def _watch(self, events: int) -> None:
        if self._socket is not None and events != self._watched:
            self._watched = events
            self._reactor.modify(self._socket.fileno(), events)

    def _write(self, sock: socket.socket) -> None:
        """Seal what waits and write what the socket takes. Raises OSError."""
        if self._waiting:
            messages, self._waiting = self._waiting, []
            self._outgoing += messages if self._codec is None else self._codec.seal(messages)
        if self._outgoing:
            sent = sock.sendmsg(self._outgoing[:_WRITE_PIECES])
            done = 0
            while done < len(self._outgoing) and sent >= len(self._outgoing[done]):
                sent -= len(self._outgoing[done])
                done += 1
            del self._outgoing[:done]
            if sent:
                self._outgoing[0] = memoryview(self._outgoing[0])[sent:]
        self._watch(READ | WRITE if self._outgoing else READ)

    def _read(self, sock: socket.socket) -> None:
        """Read once and hand on the messages that are whole. Raises OSError, BadPacket."""
        data = sock.recv(_RECEIVE_SIZE)
        if not data:
            self._end("the connection was closed")
            return
        self.heard_at = self._reactor.now
        pieces: list[Buffer] = [data]
        if self._codec is not None:
            data = self._tail + data
            pieces, used = self._codec.open_untrusted(memoryview(data))
            self._tail = data[used:]
        for piece in pieces:
            for message in self._deframer.receive(piece):
                if self._closed:
                    return
                self._received(message)
