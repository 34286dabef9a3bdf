"""The far side's socket of a TCP flow: dialled, agreed with a proxy, written and opened, kept alive, closed.

One half of `TCPRelay`, which moves the bytes; split from it to keep both small enough to read. The socket
is edge-triggered, as that module says. A proxy that must agree first is asked before the client's SYN is answered, so
that a refusal is one (docs/adr/0031).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from abc import abstractmethod

from tunflow.conduit import ClientConduit
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.tcp.refusal import errno_of, give_up
from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.loop.path import Path, path_of
from tunflow.loop.reactor import EDGE, READ, READ_HANGUP, URGENT, WRITE, Timer
from tunflow.protocols.codec import ProxyRefused, StreamCodec
from tunflow.protocols.contract import CodecRoute

MAXIMUM_PIECES = 1000
"""Under IOV_MAX, which is 1,024 on Linux."""

SMALL = 2048
FEW_PIECES = 8
"""Up to this many pieces of this many bytes together are joined before they are sent."""

FIRST_PAYLOAD_DELAY = 0.01
"""How long the codec's first bytes wait for the client's: an address that leaves alone in a packet is easy to spot
(SIP004 asks for one write), and costs a wake-up of the server. Where the server speaks first it goes without."""

NEXT_ADDRESS_AFTER = 3.0
"""Seconds until a server's next address is tried."""

HANDSHAKE_SIZE = 16 * 1024
"""Bytes read at a time of a proxy's answers."""

HANDSHAKE_PATIENCE = 60.0
"""Seconds for a proxy to say whether the target is reached: Tor builds circuits in some, and gives up after 120
(SocksTimeout); clients give up after 60 to 130."""

KEEPALIVE_IDLE = 60
"""Seconds of silence before the far side is probed: the shortest time-outs of NATs for TCP are a few minutes."""

PROBED_FOR = 10.0
"""Seconds for which a far side is probed that may have forgotten the flow."""

_PROBED_NOW = ((socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 3))
_PROBED_AS_USUAL = ((socket.TCP_KEEPIDLE, KEEPALIVE_IDLE), (socket.TCP_KEEPINTVL, 75), (socket.TCP_KEEPCNT, 9))
"""tcp(7): the system's own."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_WAIT = {errno.EAGAIN, errno.EINPROGRESS, errno.EALREADY}

EVENTS = READ | READ_HANGUP | URGENT | EDGE

NAGLE_SIZE = 1024
"""A first send of up to this many bytes is one packet, which no Nagle delays: only flows that send more pay for the
call that turns it off."""


class FarSide:
    """Dials at once. Raises OSError when there is no descriptor for it."""

    __slots__ = (
        "_address", "_asked_at", "_at_end", "_budget", "_codec", "_connected", "_context", "_done_down", "_events",
        "_finishing", "_heard", "_hung_up", "_is_bulk", "_is_waiting", "_kept_alive", "_kept_small", "_nagle",
        "_opening", "_pending", "_readable", "_route", "_shaking", "_socket", "_spoke", "_stands", "_tail", "_timer",
        "_writable", "connection", "done_up",
    )  # fmt: skip

    def __init__(self, context: FlowContext, connection: ClientConduit, route: CodecRoute) -> None:
        self.connection: ClientConduit = connection
        self._context = context
        self._budget = context.stack.budget
        self._route = route
        self._codec = route.codec
        self._connected = self._readable = self._writable = self._hung_up = False
        self._shaking = self._finishing = False
        self.done_up = False
        """Whether the client closed its side and the far side was told."""
        self._done_down = self._heard = self._spoke = self._kept_alive = False
        self._opening = route.codec is not None
        self._pending: list[Buffer] = []
        self._tail: bytes = b""
        self._timer: Timer | None = None
        self._address = 0
        self._asked_at = context.reactor.now
        self._is_bulk = self._is_waiting = False
        self._nagle = True
        self._kept_small = False
        self._events = 0
        self._at_end = False
        """Whether the far side's FIN has arrived, so that what can be read now is the rest."""
        self._stands = False
        self._socket = self._dial(may_stand=self._codec is None or self._codec.established)
        context.slots.add(self)
        if self._stands:
            self._writable = True
            if not connection.held:
                self._is_waiting = True
                context.turns.again(self)  # somebody let the client in before, and it may have spoken
            self._on_connected()

    @property
    def path(self) -> Path | None:
        """The addresses that its packets go between; None when it is not on its way."""
        return path_of(self._socket, self._route.addresses[self._address].sockaddr[0])

    def path_lost(self) -> bool:
        """No answer will come on this socket any more: dial again, or reset the client; whether it was reset."""
        if self._connected or self.connection.closed:
            self.cut()
            return True
        self._close_socket(reset=False)
        if self._shaking:  # the codec is used up
            give_up(self._context, self.connection, errno.ECONNRESET)
            return True
        self._address = 0
        try:
            self._socket = self._dial()
        except OSError:
            self.connection.user = None
            self.connection.abort()
            return True
        self._context.slots.add(self)
        return False

    def cut(self) -> None:
        """End the flow from here, both ways, by a reset."""
        self._trace("cut off")
        self._close_socket(reset=True)
        self.connection.user = None
        self.connection.abort()

    # Dialing.

    def _dial(self, may_stand: bool = False) -> socket.SocketType:
        """A socket that connects; with `may_stand`, `_stands` says whether it has done so already, as on one host."""
        address = self._route.addresses[self._address]
        sock = self._context.sockets.open_stream(address.family)
        try:
            if self._codec is not None:
                # tcp(7): the first bytes leave within FIRST_PAYLOAD_DELAY and carry the handshake's last ACK, so the
                # proxy wakes up once. Without a proxy the far side may speak first and must not wait for us.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            error = sock.connect_ex(address.sockaddr)
            if may_stand and error == errno.EINPROGRESS:
                error = sock.connect_ex(address.sockaddr)
            self._stands = may_stand and not error
            # Before it stands WRITE tells that it does; a socket that stands is asked only when it does not take more.
            self._events = EVENTS if self._stands else EVENTS | WRITE
            if not error or error in _WAIT:  # one that failed at once would tell that too, and not why
                self._context.reactor.add(sock.fileno(), self._events, self._on_event)
        except OSError:
            self._context.reactor.remove(sock.fileno())
            sock.close()
            raise
        if error and error not in _WAIT:
            # Told in the next round, when the constructor is done.
            self._context.reactor.call_soon(lambda: self._dial_failed(error, sock))
        elif error and self._address + 1 < len(self._route.addresses):
            delay = NEXT_ADDRESS_AFTER
            self._timer = self._context.reactor.call_later(delay, lambda: self._dial_failed(errno.ETIMEDOUT, sock))
        return sock

    def _dial_failed(self, error: int, sock: socket.SocketType) -> None:
        """The far side, or the proxy, did not answer at one address: try the next, or tell the client."""
        if sock is not self._socket or self._connected or self.connection.closed:
            return
        self._cancel_timer()
        self._close_socket(reset=False)
        if self._address + 1 < len(self._route.addresses):
            self._address += 1
            try:
                self._socket = self._dial()
            except OSError as failure:
                error = failure.errno or errno.ECONNREFUSED
            else:
                self._context.slots.add(self)
                return
        self._trace(f"failed: {os.strerror(error)}")
        if self._codec is not None:
            self._context.servers.failed(self._route.label, error)
        give_up(self._context, self.connection, error)

    def _on_connected(self) -> None:
        """The socket stands; the flow too, unless a proxy must agree first."""
        if self._timer is not None:
            self._cancel_timer()
        codec = self._codec
        if codec is None or codec.established:
            self._on_flow()
            return
        self._shaking = self._writable = True
        self._timer = self._context.reactor.call_later(HANDSHAKE_PATIENCE, self._on_no_answer)
        self._context.servers.spoken_to(self._route.label)
        self._shake_hands(codec, READ)

    def _shake_hands(self, codec: StreamCodec, events: int) -> None:
        """Say what the proxy must hear, hear what it says, until it agrees or the client can be told why not."""
        first: list[Buffer] = []
        try:
            self._say(codec)
            while events & ~WRITE and not codec.established:
                if not self._receive_sealed(HANDSHAKE_SIZE, first):
                    raise ConnectionResetError(errno.ECONNRESET, "closed by the proxy")
                self._say(codec)
        except BlockingIOError:
            pass
        except BadPacket as error:
            self._not_agreed(error)
            return
        except OSError as error:
            self._trace(f"failed: {error.strerror}")
            self._close_socket(reset=False)
            give_up(self._context, self.connection, errno.ECONNREFUSED)
            return
        if codec.established:
            self._shaking = False
            self._readable = True  # the rest of what came, if there is any
            self._cancel_timer()
            self._on_flow()
            if first:
                self.connection.send(first, self._context.reactor.now)

    def _say(self, codec: StreamCodec) -> None:
        words = [*self._pending, *codec.seal(())]
        self._budget.used -= sum(map(len, self._pending))
        self._pending = []
        if words:
            self._send(words)

    def _not_agreed(self, error: BadPacket) -> None:
        """The proxy refused, or is none."""
        self._trace(f"refused: {error}")
        self._close_socket(reset=True)
        if isinstance(error, ProxyRefused):
            self._context.servers.refused(self._route.label, error)
            give_up(self._context, self.connection, errno_of(error.refusal))
        else:
            self._context.servers.garbled(self._route.label, error, heard=True)
            give_up(self._context, self.connection, errno.ECONNREFUSED)

    def _on_no_answer(self) -> None:
        self._trace("failed: the proxy did not answer")
        self._close_socket(reset=True)
        give_up(self._context, self.connection, errno.ETIMEDOUT)

    def _on_flow(self) -> None:
        """What the client sends from now on arrives."""
        self._connected = True
        context = self._context
        now = context.reactor.now
        context.statistics.connected(now - self._asked_at)
        if context.trace is not None:
            self._trace(f"connected in {(now - self._asked_at) * 1e3:.1f} ms")
        if self.connection.held:
            self.connection.accept(now)
        if self._codec is not None and self._codec.transparent:
            self._leave_codec_out()
        if self._codec is not None:
            context.openings.add(self, now + FIRST_PAYLOAD_DELAY)

    def _leave_codec_out(self) -> None:
        """Once a proxy only passes bytes on, so do we."""
        if self._codec is not None and self._codec.transparent and not self._tail:
            self._codec = None
            self._opening = False

    # Being heard of.

    def keep_alive(self) -> None:
        """The flow has lasted a while: have the kernel probe the far side when it is silent for long.

        It must not be forgotten by a NAT on the way, nor held for ever when the far side is dead.
        """
        if not self._kept_alive:
            self._kept_alive = True
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)

    def ask_far_side(self) -> None:
        """Have the kernel probe the far side now: whoever has forgotten the flow shows within seconds."""
        if not self._connected:
            return
        self._kept_alive = True
        for option, value in (*_PROBED_NOW, (socket.TCP_KEEPIDLE, 1)):
            self._socket.setsockopt(socket.IPPROTO_TCP, option, value)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock = self._socket
        self._context.reactor.call_later(PROBED_FOR, lambda: _probe_as_usual(sock))

    # Bytes.

    def _send(self, pieces: list[Buffer]) -> bool:
        """Write to the socket; what it was not given or did not take is kept. Whether it may take more."""
        if 1 < len(pieces) <= FEW_PIECES and sum(map(len, pieces)) < SMALL:
            pieces = [b"".join(pieces)]  # salt, length and address: one `send` costs less than a gather list
        batch = pieces if len(pieces) <= MAXIMUM_PIECES else pieces[:MAXIMUM_PIECES]
        if self._nagle:
            self._leave_nagle(batch)
        try:
            sent = self._socket.send(batch[0]) if len(batch) == 1 else self._socket.sendmsg(batch)
        except BlockingIOError:
            sent = 0
        for index, piece in enumerate(batch):
            size = len(piece)
            if sent < size:
                self._keep([memoryview(piece)[sent:], *pieces[index + 1 :]])
                self._writable = False
                if not self._events & WRITE:
                    self._events |= WRITE
                    self._context.reactor.modify(self._socket.fileno(), self._events)
                return False
            sent -= size
        if len(batch) < len(pieces):
            self._keep(pieces[MAXIMUM_PIECES:])
        return True

    def _leave_nagle(self, batch: list[Buffer]) -> None:
        """Turn Nagle's algorithm off, unless this is the first send and small."""
        if self._kept_small or len(batch) > 1 or len(batch[0]) > NAGLE_SIZE:
            self._nagle = False
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._kept_small = True

    def _keep(self, pieces: list[Buffer]) -> None:
        self._pending = pieces
        self._budget.used += sum(map(len, pieces))

    def _receive_sealed(self, asked: int, into: list[Buffer]) -> int:
        """Receive behind the start of an unfinished record, open what is whole, keep the rest."""
        scratch = self._context.scratch
        start = len(self._tail)
        if start:
            scratch[:start] = self._tail
        received = self._socket.recv_into(scratch[start : start + asked])
        if received:
            assert self._codec is not None
            end = start + received
            pieces, used = self._codec.open_untrusted(scratch[:end])
            self._tail = bytes(scratch[used:end]) if used < end else b""
            self._budget.used += end - used - start
            if pieces:
                self._context.statistics.tcp_bytes_down += sum(map(len, pieces))
                if not self._heard:
                    self._heard = True
                    self._context.servers.answered(self._route.label)
                    if self._codec.transparent:
                        self._context.reactor.call_soon(self._leave_codec_out)
                into += pieces
        return received

    # The end.

    def _close_socket(self, reset: bool) -> None:
        if self._timer is not None:
            self._cancel_timer()
        sock = self._socket
        fd = sock.fileno()
        if fd < 0:
            return
        self._context.reactor.forget(fd)
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        sock.close()
        if self._tail or self._pending:
            self._budget.used -= len(self._tail) + sum(map(len, self._pending))
            self._pending = []
            self._tail = b""
        self._context.slots.relays.discard(self)

    def _trace(self, what: str) -> None:
        if self._context.trace is not None:
            self._context.trace(f"tcp {self.connection.client} -> {self.connection.target} {what}")

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # What moves the bytes.

    @property
    @abstractmethod
    def holds_bytes(self) -> bool:
        """Whether bytes from the client wait here."""

    @abstractmethod
    def service(self, turn: int = 0) -> None:
        """Move what can be moved; `turn`: the flow waited for its turn, and may read so many super-segments."""

    @abstractmethod
    def open_without_payload(self) -> None:
        """The client has not spoken: tell the proxy the target all the same."""

    @abstractmethod
    def _on_event(self, events: int) -> None:
        """The socket changed."""


def _probe_as_usual(sock: socket.SocketType) -> None:
    if sock.fileno() >= 0:
        for option, value in _PROBED_AS_USUAL:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
