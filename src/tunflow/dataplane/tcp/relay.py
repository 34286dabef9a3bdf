"""One TCP flow: a connection of the stack on one side, a socket to the far side or its proxy on the other.

The hot path. Rules:

1. The socket is edge-triggered: `_readable` and `_writable` remember what epoll said, until a call would block. No
   `epoll_ctl` is needed again, and the stack's side drives the socket without asking epoll.
2. Nothing is read from one side unless the other has room, so a slow reader slows the sender; what is buffered is
   bounded by the connection's limits plus one sealed batch, and all together by the stack's budget.
3. Payload is not copied in Python: pieces go from the packet to `sendmsg`, and from `recv` into the packet.
"""

from __future__ import annotations

import errno
import os
import socket

from tunflow.conduit import ClientConduit
from tunflow.dataplane.standing_queue import LARGE
from tunflow.dataplane.tcp.far_side import FarSide
from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.loop.reactor import ERROR, HANGUP, READ, READ_HANGUP, URGENT, WRITE
from tunflow.protocols.codec import ProxyRefused

SEAL_SIZE = 128 * 1024
"""Bytes sealed at a time."""

PLAIN_SIZE = 512 * 1024
"""Bytes handed to one `sendmsg` without a codec."""

MINIMUM_ROOM = 16 * 1024
"""With less room in the connection than this the socket is not read: small reads cost as much as large ones."""

FIRST_TURN = 2
"""And for a flow that has something new. One that has more to say than that is bulk, and waits for its turn from then
on until it runs dry: so a small request never waits for more than `turns.ROUND` of them."""

PLAIN_READ = 4
SEALED_READ = 2
"""Super-segments asked for in one call. What is opened is in memory twice, and should still be in the cache then."""


class TCPRelay(FarSide):
    """Dials, then pumps both ways until both are done. Raises OSError when there is no descriptor for it."""

    __slots__ = ()

    @property
    def holds_bytes(self) -> bool:
        """Whether bytes from the client wait here."""
        return bool(self._pending or self.connection.readable or self._opening)

    def open_without_payload(self) -> None:
        """The client has not spoken: tell the proxy the target all the same, if that was not done meanwhile."""
        if self._opening and not self.done_up and not self.connection.closed:
            self._opening = False
            assert self._codec is not None
            try:
                self._send(self._codec.seal([]))
            except OSError:
                self._abort()  # the proxy is gone already

    def rebind(self, stream: ClientConduit) -> None:
        """Go on with `stream`, which is the same flow."""
        self.connection = stream

    # Events.

    def _on_event(self, events: int) -> None:
        if self._shaking:
            assert self._codec is not None
            self._shake_hands(self._codec, events)
            if not self._connected:
                return
        elif not self._connected:
            if events & (ERROR | HANGUP):
                sock = self._socket
                self._dial_failed(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNREFUSED, sock)
                return
            if not events & WRITE:
                return
            self._on_connected()
            if not self._connected:
                return
        if events & WRITE:
            self._writable = True
        if events & (READ | READ_HANGUP | HANGUP | ERROR):
            self._readable = True
            if events & (READ_HANGUP | HANGUP | ERROR):
                self._hung_up = True
                # A read stops in front of urgent data, and an error may follow it: then only a read can tell.
                self._at_end = events & (READ_HANGUP | ERROR | URGENT) == READ_HANGUP
        self.service()

    def service(self, turn: int = 0) -> None:
        """Move what can be moved; called when the socket or the connection changed.

        `turn`: the flow waited for its turn, and may read so many super-segments.
        """
        if turn:
            self._is_waiting = False
        connection = self.connection
        if connection.closed and (connection.was_reset or not self._connected):
            self._client_gave_up()
            return
        if not self._connected:
            return
        try:
            if self._writable and not self.done_up and (connection.readable or self._pending or connection.at_eof):
                self._pump_up()
            if self._readable and not self._done_down:
                if turn or not self._is_bulk:
                    self._pump_down(turn or FIRST_TURN)
                elif not self._is_waiting:
                    self._is_waiting = True
                    self._context.turns.again(self)
        except ProxyRefused as refused:
            self._trace(f"refused: {refused}")  # too late to tell the client how
            self._context.servers.refused(self._route.label, refused)
            self._abort()
        except BadPacket as error:
            self._context.servers.garbled(self._route.label, error, self._heard)
            self._abort()
        except OSError:
            if self._spoke and not self._heard:
                self._context.servers.closed_unheard(self._route.label)  # so may a server that cannot decrypt us
            self._abort()  # the far side reset the flow or is gone: the client gets a reset too
        else:
            if self.done_up and self._done_down:
                self._finish()

    # From the client to the far side.

    def _pump_up(self) -> None:
        connection = self.connection
        codec = self._codec
        size = PLAIN_SIZE if codec is None else SEAL_SIZE
        while True:
            if self._pending:
                pieces, self._pending = self._pending, []
                self._budget.used -= sum(map(len, pieces))
            elif waiting := connection.readable:
                pieces = connection.take(size)
                self._context.statistics.tcp_bytes_up += min(waiting, size)
                if codec is not None:
                    self._spoke = True
                    pieces = codec.seal(pieces)
                    self._opening = False
            else:
                break
            if not self._send(pieces):
                return
        if connection.at_eof:
            if self._opening:
                self.open_without_payload()
                if self._pending:
                    return
            if codec is not None and not self._finishing:
                self._finishing = True
                last = codec.finish()
                if last and not self._send(last):
                    return
            if not self._done_down:  # else the socket is closed right away, which says the same
                self._socket.shutdown(socket.SHUT_WR)
            self.done_up = True

    # From the far side to the client.

    def _pump_down(self, turn: int) -> None:
        connection = self.connection
        context = self._context
        size = connection.largest_segment
        most = PLAIN_READ if self._codec is None else SEALED_READ
        receive = self._receive_plain if self._codec is None else self._receive_sealed
        held: list[Buffer] = []  # short reads, so that what belongs together leaves in one packet, FIN included
        while turn > 0:
            room = connection.send_room
            if room < MINIMUM_ROOM and not self._may_read_little(room):
                break
            asked = min(room, min(turn, most) * size)
            turn -= most
            try:
                received = receive(asked, held)
            except BlockingIOError:
                self._readable = self._is_bulk = False
                break
            if not received:
                self._end_of_stream(held)
                return
            if received >= LARGE:
                context.reactor.sleep_next()
            if received == asked:
                connection.send(held, context.reactor.now, more=True)
                held = []
                context.write()  # while the bytes are still in the cache
            elif self._at_end:
                self._end_of_stream(held)
                return
            elif not self._hung_up:
                self._readable = self._is_bulk = False  # epoll(7): after a short read the rest makes a new edge
                break
        else:
            self._is_bulk = True
            if not self._is_waiting:
                self._is_waiting = True
                context.turns.again(self)
        connection.send(held, context.reactor.now, more=self._readable)

    def _may_read_little(self, room: int) -> bool:
        """Whether the room is small because memory is scarce, and not because the client is slow."""
        if self.connection.unacknowledged:
            return False  # its acknowledgments will make room
        if room <= 0:
            self._context.turns.wait_for_memory(self)
        return room > 0

    def _receive_plain(self, asked: int, into: list[Buffer]) -> int:
        data = self._socket.recv(asked)
        self._context.statistics.tcp_bytes_down += len(data)
        into.append(data)
        return len(data)

    def _end_of_stream(self, last: list[Buffer]) -> None:
        self._done_down = True
        if self._tail:
            # The stream ends inside a record: bytes are missing, and the client must not take this for the end.
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        if self._spoke and not self._heard and not self.done_up:
            self._context.servers.closed_unheard(self._route.label)
        self.connection.close_write(self._context.reactor.now, last)

    # Ends.

    def _finish(self) -> None:
        """Both directions are done: the connection delivers the rest by itself."""
        if self._context.trace is not None:
            self._trace("done")
        self._close_socket(reset=False)
        self.connection.abandon(self._context.reactor.now)

    def _abort(self) -> None:
        self._trace("reset by the far side")
        self._close_socket(reset=True)
        self.connection.user = None
        self.connection.abort()

    def _client_gave_up(self) -> None:
        """The client reset the connection, or it timed out, or a filter refused it: the far side's is reset too."""
        self._trace("refused by the filter" if self.connection.is_refused else "ended by the client")
        self.connection.user = None
        self._close_socket(reset=self._connected)
