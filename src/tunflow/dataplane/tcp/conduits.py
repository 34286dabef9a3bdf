"""A client's TCP flow joined with a stream of a session (a packet tunnel's): no socket, and no descriptor.

Rules are those of `TCPRelay`: the client's SYN is answered when the far side, and a server that must agree, has; each
direction ends for itself; what ends one side out of order resets the other; what one side does not take is not taken
from the other.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

from tunflow.conduit import ClientConduit, Conduit
from tunflow.contained import Contained
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.tcp.refusal import refuse_client
from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.outbound.agreement import FIRST_PAYLOAD_DELAY
from tunflow.outbound.client import carrier_on
from tunflow.outbound.refusals import errno_of
from tunflow.protocols.codec import ProxyRefused, StreamCodec
from tunflow.protocols.contract import ConduitRoute, NotDialled
from tunflow.protocols.sealed_reader import SealedReader

PIECE = 256 * 1024
"""Bytes moved at a time: a connection's whole buffer."""


class ConduitRelay(Contained):
    """Dials at once. As `StreamOwner` of the client's connection."""

    __slots__ = (
        "_asked_at",
        "_codec",
        "_connection",
        "_context",
        "_done_down",
        "_done_up",
        "_far",
        "_give_up",
        "_heard",
        "_label",
        "_reader",
        "_trouble",
        "bytes_down",
        "bytes_up",
    )

    def __init__(self, context: FlowContext, connection: ClientConduit, route: ConduitRoute) -> None:
        self._context = context
        self._connection = connection
        self._codec = route.codec
        self._label = route.label
        self._trouble = route.trouble
        self._far: Conduit | None = None
        self._reader = None if route.codec is None else SealedReader(route.codec.open_untrusted)
        self._done_up = self._done_down = self._heard = False
        self.bytes_up = self.bytes_down = 0
        """Of the client's, and for it."""
        self._asked_at = context.reactor.now
        self._give_up = route.dial(self._dialled, carrier_on(context.reactor, context.sockets))
        context.slots.shared.add(self)

    @property
    def is_over(self) -> bool:
        """True if the flow has ended."""
        return self not in self._context.slots.shared

    @property
    def done_up(self) -> bool:
        """As `SharedFlow.done_up`."""
        return self._done_up and (self._far is None or not self._far.unacknowledged)

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"tcp {self._connection.client} -> {self._connection.target}"

    def cut(self) -> None:
        """As `Contained.cut`."""
        self._end()

    def rebind(self, stream: ClientConduit) -> None:
        """As `StreamOwner.rebind`."""
        self._connection = stream

    # The far side.

    def _dialled(self, far: Conduit | None, error: NotDialled) -> None:
        if far is None:
            self._context.slots.shared.discard(self)
            refuse_client(self._context, self._connection, self._told(error))
            return
        self._far = far
        far.user = _FarOwner(self)
        if self._codec is None or self._codec.established:
            self._stands()
        else:
            self._context.servers.spoken_to(self._label)
            far.send(self._codec.seal(()), self._context.reactor.now)

    def _told(self, error: NotDialled) -> int:
        """Say what is wrong with the server; as the errno of the client's attempt."""
        servers = self._context.servers
        if isinstance(error, OSError):
            number = error.errno or errno.ENETDOWN
            servers.failed(self._label, number)
            return number
        if isinstance(error, ProxyRefused):
            servers.refused(self._label, error)
            return errno_of(error.refusal)
        if isinstance(error, BadPacket):
            servers.garbled(self._label, error, heard=self._heard)
            return errno.ECONNREFUSED
        if error == errno.ENETDOWN:
            servers.failed(self._label, error, self._trouble())
        return error

    def _stands(self) -> None:
        """What the client sends from now on arrives."""
        context = self._context
        context.statistics.connected(context.reactor.now - self._asked_at)
        if self._connection.held:
            self._connection.accept(context.reactor.now)
            if self._codec is not None and not self._codec.transparent:
                context.reactor.call_later(FIRST_PAYLOAD_DELAY, self._open_without_payload)
        elif self._codec is not None and not self._connection.readable and self._far is not None:
            self._far.send(self._codec.seal(()), context.reactor.now)
        self.service()

    def _open_without_payload(self) -> None:
        """The client waits for the server to speak first: what the codec has to say goes without its bytes."""
        if self._far is not None and self._codec is not None and not self.bytes_up and not self._done_up:
            self._far.send(self._codec.seal(()), self._context.reactor.now)

    def far_changed(self) -> None:
        """The far side has bytes, room, or is over."""
        far = self._far
        if far is None:
            return
        try:
            self._move_down(far)
        except BadPacket as error:
            self._failed(error)
            return
        self._move_up(far)
        self._finish(far)

    # The client's side.

    def service(self) -> None:
        """As `StreamOwner.service`."""
        far = self._far
        if self._connection.closed and not (self._connection.at_eof or self._connection.readable):
            self._end()
        elif far is not None:
            self.far_changed()
        elif self._connection.closed:
            self._end()

    # Bytes.

    def _move_up(self, far: Conduit) -> None:
        codec, connection, now = self._codec, self._connection, self._context.reactor.now
        if self._done_up or (codec is not None and not codec.established):
            return
        while connection.readable and (room := min(far.send_room, PIECE)) > 0:
            pieces = connection.take(room)
            size = sum(map(len, pieces))
            self.bytes_up += size
            self._context.statistics.tcp_bytes_up += size
            far.send(pieces if codec is None else codec.seal(pieces), now)
        if connection.at_eof and not far.closed:
            self._done_up = True
            far.close_write(now, () if codec is None else codec.finish())

    def _move_down(self, far: Conduit) -> None:
        """Raises BadPacket."""
        connection, now = self._connection, self._context.reactor.now
        while far.readable and (room := min(connection.send_room, PIECE)) > 0:
            pieces: Sequence[Buffer] = far.take(room)
            if self._codec is not None and self._reader is not None:
                pieces = self._opened(self._codec, self._reader, pieces, far)
            elif not self._heard:
                self._heard = True
                self._context.servers.answered(self._label)
            if pieces:
                size = sum(map(len, pieces))
                self.bytes_down += size
                self._context.statistics.tcp_bytes_down += size
                connection.send(pieces, now)
        if far.at_eof and not self._done_down:
            self._done_down = True
            if self._codec is not None and not self._codec.established:
                raise BadPacket("it closed the connection")
            if self._codec is not None and not self._heard:
                self._context.servers.closed_unheard(self._label)
            connection.close_write(now)

    def _opened(
        self, codec: StreamCodec, reader: SealedReader[Buffer], pieces: Sequence[Buffer], far: Conduit
    ) -> list[Buffer]:
        """Sealed bytes opened; a codec that stands by them stands. Raises BadPacket."""
        was_established = codec.established
        opened = reader.read_untrusted(b"".join(pieces))
        if opened and not self._heard:
            self._heard = True
            self._context.servers.answered(self._label)
        if not was_established:
            far.send(codec.seal(()), self._context.reactor.now)
            if codec.established:
                self._stands()
        return opened

    # Ends.

    def _failed(self, error: BadPacket) -> None:
        """A server inside the tunnel refused, or is none."""
        number = self._told(error)
        self._leave_far()
        refuse_client(self._context, self._connection, number)

    def _finish(self, far: Conduit) -> None:
        now = self._context.reactor.now
        if self._done_up and self._done_down:
            self._context.slots.shared.discard(self)
            self._connection.user = None
            far.user = None
            self._connection.abandon(now)
        elif far.closed and not far.readable and not self._done_down:
            if self._codec is not None and not self._heard:
                self._context.servers.closed_unheard(self._label)
            self._end()

    def _end(self) -> None:
        """Out of order: both sides hear of it."""
        self._leave_far()
        self._connection.user = None
        self._connection.abort()

    def _leave_far(self) -> None:
        self._context.slots.shared.discard(self)
        far, self._far = self._far, None
        if far is None:
            self._give_up()
        else:
            far.user = None
            far.abort()


class _FarOwner:
    """Hears of the far side."""

    __slots__ = ("_relay",)

    def __init__(self, relay: ConduitRelay) -> None:
        self._relay = relay

    def service(self) -> None:
        """As `StreamOwner.service`."""
        self._relay.far_changed()

    def rebind(self, stream: ClientConduit) -> None:
        """As `StreamOwner.rebind`: nothing steps before a stream of a session."""
