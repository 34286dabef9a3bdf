"""One connection that we ask for ourselves, through whatever servers its route names, with or without TLS in it.

The socket is level-triggered and written from the loop only, so that all that is asked for in one round leaves sealed
together; with the first of it goes what the codec must say first.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from tunflow.endpoint import Address, Buffer
from tunflow.errors import BadPacket
from tunflow.loop.reactor import READ, WRITE, Reactor, Timer
from tunflow.loop.sockets import SocketOptions
from tunflow.protocols.chain import ChainedStream
from tunflow.protocols.codec import ProxyRefused, Refusal, StreamCodec
from tunflow.protocols.contract import CodecRoute

if TYPE_CHECKING:
    from tunflow.protocols.transport.tls import TLSClient

NEXT_ADDRESS_AFTER = 2.0
"""Seconds for a server's address to take the connection while another is left to try: two of them fit into the time
that a client waits for an answer."""

_RECEIVE_SIZE = 32 * 1024
_WRITE_PIECES = 64
"""Buffers in one `sendmsg`; Linux takes IOV_MAX (1024)."""


class StreamClient:
    """Dials at once. `received` is called with bytes of the flow; `lost` once, with the reason in words and whether the
    connection had stood; `opened` once, when it stands. None is called from within `send` or the constructor, nor after
    `close`.
    """

    def __init__(
        self,
        reactor: Reactor,
        route: CodecRoute,
        received: Callable[[Buffer], None],
        lost: Callable[[str, bool], None],
        sockets: SocketOptions,
        tls: TLSClient | None = None,
        opened: Callable[[], None] | None = None,
    ) -> None:
        self.refusal: Refusal | None = None
        """What a proxy answered, where that was no."""
        self.address: Address | None = None
        """Where the socket goes."""
        self._opened = opened
        self.heard_at: float | None = None
        """When bytes last came, in the reactor's time."""
        self._reactor = reactor
        self._received = received
        self._lost = lost
        self._sockets = sockets
        self._tls = tls
        self._codec: StreamCodec | None = route.codec
        if tls is not None:
            self._codec = tls if route.codec is None else ChainedStream(route.codec, tls)
        self._addresses = list(route.addresses)
        self._waiting: list[Buffer] = []
        """Bytes of the flow, not sealed yet."""
        self._outgoing: list[Buffer] = []
        self._tail = b""
        self._socket: socket.socket | None = None
        self._watched = 0
        self._connected = False
        self.closed = False
        self._timer: Timer | None = None
        self._dial(errno.EADDRNOTAVAIL)

    @property
    def established(self) -> bool:
        """Whether the connection stands, the proxies agreed, and TLS stands on it."""
        return self._connected and (self._codec is None or self._codec.established)

    def send(self, pieces: Sequence[Buffer]) -> None:
        """Send bytes, as soon as it is possible."""
        self._waiting += pieces
        if self._connected:
            self._watch(READ | WRITE)

    def take_socket(self) -> tuple[socket.socket, bytes]:
        """The socket, for somebody else to go on with, and the start of a record that is not whole."""
        taken, self._socket = self._socket, None
        assert taken is not None
        self._reactor.remove(taken.fileno())
        self.closed = True
        return taken, self._tail

    def close(self) -> None:
        """Give the descriptor back."""
        self.closed = True
        self._drop_socket()

    # Dialing.

    def _dial(self, error: int) -> None:
        """Start on the next address; with none left, it ends with `error`, that of the one before."""
        self._drop_socket()
        while self._addresses:
            address = self.address = self._addresses.pop(0)
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
        if not self.closed:
            established = self.established
            self.close()
            self._lost(why, established)

    # Events.

    def _on_event(self, events: int) -> None:
        sock = self._socket
        if sock is None:
            return
        try:
            if not self._connected and not self._has_connected(sock):
                return
            if events & WRITE:
                self._write(sock)
            if events & ~WRITE:
                self._read(sock)
            if self._opened is not None and self.established and not self.closed:
                opened, self._opened = self._opened, None
                opened()
        except BlockingIOError:
            return
        except OSError as error:
            self._end(error.strerror or str(error))
        except ProxyRefused as refused:
            self.refusal = refused.refusal
            self._send_alert(sock)
            self._end(str(refused))
        except BadPacket as error:
            self._send_alert(sock)
            self._end(str(error))

    def _has_connected(self, sock: socket.socket) -> bool:
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
        self._connected = True
        return True

    def _watch(self, events: int) -> None:
        if self._socket is not None and events != self._watched:
            self._watched = events
            self._reactor.modify(self._socket.fileno(), events)

    def _write(self, sock: socket.socket) -> None:
        """Seal what waits and write what the socket takes. Raises OSError."""
        if self._codec is not None and not self._codec.established:
            self._outgoing += self._codec.seal(())  # the other side must agree first; the rest waits
        else:
            pieces, self._waiting = self._waiting, []
            if pieces:
                self._outgoing += pieces if self._codec is None else self._codec.seal(pieces)
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
        """Read once and hand on what came. Raises OSError, BadPacket."""
        data = sock.recv(_RECEIVE_SIZE)
        if not data:
            self._end("the connection was closed")
            return
        self.heard_at = self._reactor.now
        pieces: list[Buffer] = [data]
        if self._codec is not None:
            data = self._tail + data
            if not self._codec.established:
                self._watch(READ | WRITE)  # there is more to say
            pieces, used = self._codec.open_untrusted(memoryview(data))
            self._tail = data[used:]
        for piece in pieces:
            if self.closed:
                return
            self._received(piece)
        if self._tls is not None and self._tls.over:
            self._end("the connection was closed")

    def _send_alert(self, sock: socket.socket) -> None:
        """TLS tells the server's administrator what is wrong, if the socket takes it."""
        if self._tls is not None and self._codec is not None:
            with suppress(OSError):
                sock.sendmsg(self._codec.seal(()))
