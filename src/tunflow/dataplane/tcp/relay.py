"""One TCP flow: a client's connection to the stack joined with its far side (`RemoteSocket`).

The hot path. Rules:

1. Nothing is read from one side unless the other has room, so a slow reader slows the sender; what is buffered is
   bounded by the connection's limits plus one sealed batch, and all together by the stack's budget.
2. Payload is not copied in Python: pieces go from the packet to `sendmsg`, and from `recv` into the packet.
3. What ends one side out of order resets the other.
"""

from __future__ import annotations

import errno

from tunflow.conduit import ClientConduit
from tunflow.contained import Contained
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.tcp.refusal import refuse_client
from tunflow.dataplane.tcp.remote_socket import RemoteSocket
from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.loop.path import Path
from tunflow.protocols.contract import CodecRoute

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


class TCPRelay(Contained):
    """Dials, then pumps both ways until both are done. As `OpenFlow`, `StreamOwner` and `RemoteOwner`."""

    __slots__ = (
        "_context", "_is_bulk", "_is_waiting", "_remote", "bytes_down", "bytes_up", "connection", "done_up",
    )  # fmt: skip

    def __init__(
        self, context: FlowContext, connection: ClientConduit, route: CodecRoute, name: str | None = None
    ) -> None:
        """Raises OSError when there is no descriptor for it.

        `name` is the target's, where the server is to find its addresses itself.
        """
        self._context = context
        self.connection: ClientConduit = connection
        self.bytes_up = self.bytes_down = 0
        """Of the flow, so far."""
        self.done_up = False
        """True if the client closed its side and the far side was told."""
        self._is_bulk = self._is_waiting = False
        self._remote = remote = RemoteSocket(context, route, self, name)
        context.slots.add(self)
        if remote.writable:
            remote.connected()

    @property
    def is_over(self) -> bool:
        """True if the flow has ended."""
        return self.connection.closed or (self.done_up and self._remote.at_eof)

    @property
    def is_plain(self) -> bool:
        """True if bytes pass as they are: there is no codec, or it has stepped out."""
        return self._remote.is_plain

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"tcp {self.connection.client} -> {self.connection.target}"

    def cut(self) -> None:
        """End the flow from here, both ways, by a reset."""
        self._reset("cut off")

    # As `OpenFlow`: its descriptor.

    @property
    def holds_bytes(self) -> bool:
        """True if bytes from the client wait here."""
        return bool(self.connection.readable or self._remote.holds_bytes)

    def fileno(self) -> int:
        """The descriptor of its socket; -1 when it is closed."""
        return self._remote.fileno()

    @property
    def path(self) -> Path | None:
        """The addresses that its packets go between; None when it is not on its way."""
        return self._remote.path

    def path_lost(self) -> bool:
        """Dial again, or reset the client, for no answer comes on this path any more. Return True if it was reset."""
        if self._remote.stands or self.connection.closed:
            self.cut()
            return True
        try:
            self._remote.dial_again()
        except OSError as error:
            self.remote_failed(error.errno or errno.EIO)
            return True
        return False

    def keep_alive(self) -> None:
        """Have the far side probed when it is silent for long."""
        self._remote.keep_alive()

    def probe_remote(self) -> None:
        """Have the far side probed now."""
        self._remote.probe()

    # As `RemoteOwner`.

    def remote_stands(self, first: list[Buffer]) -> None:
        """Let the client in, with what came for it already."""
        connection, now = self.connection, self._context.reactor.now
        if connection.held:
            connection.accept(now)
        elif not self._is_waiting:
            self._is_waiting = True
            self._context.turns.again(self)  # somebody let the client in before, and it may have spoken
        if first:
            self._count_down(first)
            connection.send(first, now)

    def remote_failed(self, error: int) -> None:
        """Tell the client, as if it had dialled itself."""
        self._context.slots.relays.discard(self)
        if not self.connection.closed:
            refuse_client(self._context, self.connection, error)

    # As `StreamOwner`.

    def rebind(self, stream: ClientConduit) -> None:
        """Go on with `stream`, which is the same flow."""
        self.connection = stream

    def service(self, turn: int = 0) -> None:
        """Move what can be moved; called when the far side or the connection changed.

        `turn`: the flow waited for its turn, and may read so many super-segments.
        """
        if turn:
            self._is_waiting = False
        connection, remote = self.connection, self._remote
        if connection.closed and (connection.was_reset or not remote.stands):
            self._client_gave_up()
            return
        if not remote.stands:
            return
        try:
            if remote.writable and not self.done_up:
                waiting = connection.readable
                if waiting or remote.unsent or connection.at_eof:
                    self._pump_up(waiting)
            if remote.readable:
                if turn or not self._is_bulk:
                    self._pump_down(turn or FIRST_TURN)
                elif not self._is_waiting:
                    self._is_waiting = True
                    self._context.turns.again(self)
        except (BadPacket, OSError) as error:
            remote.blame(error)
            self._reset("reset by the far side")  # too late to tell the client how
        else:
            if self.done_up and remote.at_eof:  # the connection delivers the rest by itself
                if self._context.trace is not None:
                    self._trace("done")
                remote.close(reset=False)
                self._context.slots.relays.discard(self)
                connection.abandon(self._context.reactor.now)

    # Bytes.

    def _pump_up(self, waiting: int) -> None:
        """`waiting` bytes are readable."""
        connection, remote = self.connection, self._remote
        if remote.unsent and not remote.flush():
            return
        size = PLAIN_SIZE if remote.is_plain else SEAL_SIZE
        while waiting:
            pieces = connection.take(size)
            taken = min(waiting, size)
            self.bytes_up += taken
            self._context.statistics.tcp_bytes_up += taken
            if not remote.send(pieces):
                return
            waiting -= taken
        if connection.at_eof:
            self.done_up = remote.close_write()

    def _pump_down(self, turn: int) -> None:
        connection, remote, context = self.connection, self._remote, self._context
        size = connection.largest_segment
        most = PLAIN_READ if remote.is_plain else SEALED_READ
        held: list[Buffer] = []  # short reads, so that what belongs together leaves in one packet, FIN included
        while turn > 0:
            room = connection.send_room
            if room < MINIMUM_ROOM and (room <= 0 or connection.unacknowledged):
                break  # else memory is scarce: little is better than nothing
            pieces = remote.read(min(room, min(turn, most) * size))
            turn -= most
            opened = sum(map(len, pieces))
            self.bytes_down += opened
            context.statistics.tcp_bytes_down += opened
            held += pieces
            if remote.at_eof:
                connection.close_write(context.reactor.now, held)
                return
            if not remote.readable:
                self._is_bulk = False
                break
            connection.send(held, context.reactor.now, more=True)
            held = []
            context.write()  # while the bytes are still in the cache
        else:
            self._is_bulk = True
            if not self._is_waiting:
                self._is_waiting = True
                context.turns.again(self)
        connection.send(held, context.reactor.now, more=remote.readable)

    def _count_down(self, pieces: list[Buffer]) -> None:
        size = sum(map(len, pieces))
        self.bytes_down += size
        self._context.statistics.tcp_bytes_down += size

    # Ends.

    def _reset(self, why: str) -> None:
        self._trace(why)
        self._leave(reset=True)
        self.connection.user = None
        self.connection.abort()

    def _client_gave_up(self) -> None:
        """The client reset the connection, or it timed out, or a filter refused it: the far side's is reset too."""
        self._trace("refused by the filter" if self.connection.is_refused else "ended by the client")
        self.connection.user = None
        self._leave(reset=self._remote.stands)

    def _leave(self, reset: bool) -> None:
        self._remote.close(reset)
        self._context.slots.relays.discard(self)

    def _trace(self, what: str) -> None:
        if self._context.trace is not None:
            self._context.trace(f"{self.about} {what}")
