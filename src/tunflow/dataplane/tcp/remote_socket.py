"""The far side of a TCP flow: a socket dialled, agreed with a proxy, read and written through its codec, closed.

It knows nothing of the client. Whoever owns it (`RemoteOwner`) is told when it stands, when there is none, and when
it may be read or written again. Rules:

1. The socket is edge-triggered: `readable` and `writable` remember what epoll said, until a call would block. No
   `epoll_ctl` is needed again, and the owner drives the socket without asking epoll.
2. A proxy that must agree first is asked before the owner hears that the far side stands, so that a refusal can
   become the client's (docs/adr/0031).
3. What the socket does not take at once (`unsent`), and the start of a record that is not whole, count in the budget.
4. Once closed it tells its owner nothing any more, and holds it no longer.
"""

from __future__ import annotations

import errno
import os
import socket

from tunflow.contained import Contained
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.standing_queue import LARGE
from tunflow.dataplane.tcp import keepalive
from tunflow.dataplane.tcp.flow_dial import FlowDial
from tunflow.dataplane.tcp.remote_owner import NOBODY, RemoteOwner
from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.loop.path import Path, path_of
from tunflow.loop.reactor import ERROR, HANGUP, READ, READ_HANGUP, URGENT, WRITE, Timer
from tunflow.loop.sockets import RESET_ON_CLOSE
from tunflow.outbound.agreement import FIRST_PAYLOAD_DELAY, agree
from tunflow.outbound.refusals import errno_of
from tunflow.protocols.codec import ProxyRefused, StreamCodec
from tunflow.protocols.contract import CodecRoute
from tunflow.protocols.sealed_reader import SealedReader

MAXIMUM_PIECES = 1000
"""Under IOV_MAX, which is 1,024 on Linux."""

SMALL = 2048
FEW_PIECES = 8
"""Up to this many pieces of this many bytes together are joined before they are sent."""

HANDSHAKE_PATIENCE = 60.0
"""Seconds for a proxy to say whether the target is reached: Tor builds circuits in some, and gives up after 120
(SocksTimeout); clients give up after 60 to 130."""

NAGLE_SIZE = 1024
"""A first send of up to this many bytes is one packet, which no Nagle delays: only flows that send more pay for the
call that turns it off."""


class RemoteSocket(Contained):
    """The far side of one flow, dialled at once. Raises OSError when there is no descriptor for it."""

    __slots__ = (
        "_address", "_at_end", "_budget", "_codec", "_context", "_dial", "_events", "_finishing", "_heard", "_hung_up",
        "_kept_alive", "_kept_small", "_nagle", "_name", "_opening", "_owner", "_reader", "_route", "_shaking",
        "_socket", "_spoke", "_timer", "at_eof", "is_plain", "readable", "stands", "unsent", "writable",
    )  # fmt: skip

    def __init__(self, context: FlowContext, route: CodecRoute, owner: RemoteOwner, name: str | None) -> None:
        """`name` is the target's, where the server is to find its addresses itself."""
        self.stands = False
        """True once bytes may be sent to the far side, and read from it."""
        self.readable = False
        """True if the socket may have bytes."""
        self.at_eof = False
        """True if the far side has closed, and all that it sent was read."""
        self.is_plain = route.codec is None
        """True if bytes pass as they are: there is no codec, or it has stepped out."""
        self.unsent: list[Buffer] = []
        """What the socket did not take yet."""
        self._context = context
        self._owner = owner
        self._budget = context.stack.budget
        self._route = route
        self._name = name
        self._codec = route.codec
        self._reader = None if route.codec is None else SealedReader(route.codec.open_untrusted)
        self._opening = route.codec is not None
        self._shaking = self._finishing = self._heard = self._spoke = self._kept_alive = False
        self._timer: Timer | None = None
        self._nagle = True
        self._kept_small = False
        self._hung_up = False
        self._at_end = False
        """True if the far side's FIN has arrived, so that what can be read now is the rest."""
        dial = FlowDial(context, route, self, route.codec is None or route.codec.established)
        self._dial: FlowDial | None = dial
        """Until the far side stands."""
        self._socket, self._address, self._events = dial.socket, dial.address, dial.events
        self.writable = not self._events & WRITE
        """True if the socket may have room. So it is in the beginning if the socket stood at once, as on one host: it
        is for the owner to call `connected` then."""

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return self._owner.about

    def cut(self) -> None:
        """As `Contained.cut`: the flow ends with it."""
        owner = self._owner
        self.close(reset=True)
        owner.cut()

    @property
    def holds_bytes(self) -> bool:
        """True if something that the owner sent, or the codec must say before it, waits here."""
        return bool(self.unsent or self._opening)

    @property
    def path(self) -> Path | None:
        """The addresses that its packets go between; None when it is not on its way."""
        return path_of(self._socket, self._address.sockaddr[0])

    def fileno(self) -> int:
        """The descriptor of the socket; -1 when it is closed."""
        return self._socket.fileno()

    def dial_again(self) -> None:
        """Dial once more, for no answer comes on this path any more. Raises OSError, and is closed then.

        A proxy that was spoken to is not dialled again: the codec is used up.
        """
        owner, was_spoken_to = self._owner, self._shaking
        self.close(reset=False)
        if was_spoken_to:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        if self._route.server is not None:
            self._route = self._route._replace(addresses=self._route.server.in_order)
        self._dial = dial = FlowDial(self._context, self._route, self, may_stand=False)
        self._socket, self._address, self._events = dial.socket, dial.address, dial.events
        self._owner = owner
        self._opening = self._codec is not None

    def dialled(self, sock: socket.SocketType | None, error: int) -> None:
        """As `DialOwner.dialled`."""
        dial = self._dial
        if sock is not None and dial is not None:
            self._socket, self._address, self._events = sock, dial.address, dial.events
            return
        self._trace(f"failed: {os.strerror(error)}")
        if self._codec is not None:
            self._context.servers.failed(self._route.label, error)
        self._fail(error, reset=False)

    def _fail(self, error: int, reset: bool) -> None:
        owner = self._owner
        self.close(reset)
        owner.remote_failed(error)

    # Standing.

    def connected(self) -> None:
        """The socket stands; the far side too, unless a proxy must agree first."""
        server, codec = self._route.server, self._codec
        if server is not None and server.best is not self._address:
            server.worked(self._address)
        self.writable = True
        if codec is None or codec.established:
            self._on_flow([])
            return
        self._shaking = True
        self._timer = self._context.reactor.call_later(HANDSHAKE_PATIENCE, self._on_no_answer)
        self._context.servers.spoken_to(self._route.label)
        self._shake_hands(codec, READ)

    def _shake_hands(self, codec: StreamCodec, events: int) -> None:
        """Say what the proxy must hear, hear what it says, until it agrees or the owner can be told why not."""
        reader = self._reader
        assert reader is not None
        had = len(reader.tail)
        try:
            try:
                first = agree(codec, reader, self._say, self._socket.recv, bool(events & ~WRITE))
            finally:
                self._budget.used += len(reader.tail) - had
        except BadPacket as error:
            self._trace(f"refused: {error}")
            self.blame(error)
            self._fail(errno_of(error.refusal) if isinstance(error, ProxyRefused) else errno.ECONNREFUSED, reset=True)
            return
        except OSError as failure:
            self._trace(f"failed: {failure.strerror}")
            self._context.servers.closed_early(self._route.label)
            self._fail(errno.ECONNREFUSED, reset=False)
            return
        if codec.established:
            self._shaking = False
            self.readable = True  # the rest of what came, if there is any
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if first:
                self._hear(codec)
            self._on_flow(first)

    def _say(self, words: list[Buffer]) -> None:
        if self.unsent:
            self._budget.used -= sum(map(len, self.unsent))
            words = [*self.unsent, *words]
            self.unsent = []
        if words:
            self.send(words, is_sealed=True)

    def _on_no_answer(self) -> None:
        self._trace("failed: the proxy did not answer")
        self._fail(errno.ETIMEDOUT, reset=True)

    def _on_flow(self, first: list[Buffer]) -> None:
        """What the client sends from now on arrives."""
        self.stands = True
        context, dial = self._context, self._dial
        now = context.reactor.now
        assert dial is not None
        context.statistics.connected(now - dial.begun_at)
        if context.trace is not None:
            self._trace(f"connected in {(now - dial.begun_at) * 1e3:.1f} ms")
        self._dial = None
        if self._codec is not None:
            if self._codec.transparent:
                self._leave_codec_out()
            if not self.is_plain:
                context.openings.add(self, now + FIRST_PAYLOAD_DELAY)
        self._owner.remote_stands(first)

    def _leave_codec_out(self) -> None:
        """Once a proxy only passes bytes on, so do we."""
        if self._reader is not None and self._codec is not None and self._codec.transparent and not self._reader.tail:
            self._codec = self._reader = None
            self._opening = False
            self.is_plain = True
            self._trace("plain from here on")

    def on_event(self, events: int) -> None:
        """As `DialOwner.on_event`; the socket is edge-triggered."""
        if self._shaking:
            assert self._codec is not None
            self._shake_hands(self._codec, events)
            if not self.stands:
                return
        elif not self.stands:
            if events & (ERROR | HANGUP):
                error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if self._dial is not None:
                    self._dial.failed(error or errno.ECONNREFUSED)
                return
            if not events & WRITE:
                return
            self.connected()
            if not self.stands:
                return
        if events & WRITE:
            self.writable = True
        if events & (READ | READ_HANGUP | HANGUP | ERROR):
            self.readable = not self.at_eof
            if events & (READ_HANGUP | HANGUP | ERROR):
                self._hung_up = True
                # A read stops in front of urgent data, and an error may follow it: then only a read can tell.
                self._at_end = events & (READ_HANGUP | ERROR | URGENT) == READ_HANGUP
        self._owner.service()

    # Bytes to the far side.

    def send(self, pieces: list[Buffer], is_sealed: bool = False) -> bool:
        """Seal and write; what the socket does not take is kept. Return True if it may take more.

        Call while nothing is `unsent`. `is_sealed`: these are the codec's own words. Raises OSError.
        """
        if self._codec is not None and not is_sealed:
            self._spoke = True
            codec = self._codec
            pieces = codec.seal(pieces)
            self._opening = False
            if codec.transparent and self._heard:
                self._leave_codec_out()
        if 1 < len(pieces) <= FEW_PIECES and sum(map(len, pieces)) < SMALL:
            pieces = [b"".join(pieces)]  # salt, length and address: one `send` costs less than a gather list
        batch = pieces if len(pieces) <= MAXIMUM_PIECES else pieces[:MAXIMUM_PIECES]
        if self._nagle:  # until something is sent that is not the first thing and small
            if self._kept_small or len(batch) > 1 or len(batch[0]) > NAGLE_SIZE:
                self._nagle = False
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._kept_small = True
        try:
            sent = self._socket.send(batch[0]) if len(batch) == 1 else self._socket.sendmsg(batch)
        except BlockingIOError:
            sent = 0
        for index, piece in enumerate(batch):
            size = len(piece)
            if sent < size:
                self._keep([memoryview(piece)[sent:], *pieces[index + 1 :]])
                self.writable = False
                if not self._events & WRITE:
                    self._events |= WRITE
                    self._context.reactor.modify(self._socket.fileno(), self._events)
                return False
            sent -= size
        if len(batch) < len(pieces):
            self._keep(pieces[MAXIMUM_PIECES:])
        return True

    def flush(self) -> bool:
        """Write what is `unsent`. Return True if the socket may take more. Raises OSError."""
        pieces, self.unsent = self.unsent, []
        self._budget.used -= sum(map(len, pieces))
        return self.send(pieces, is_sealed=True)

    def _keep(self, pieces: list[Buffer]) -> None:
        self.unsent = pieces
        self._budget.used += sum(map(len, pieces))

    def close_write(self) -> bool:
        """Close this direction behind all that was sent. Return False if it must be called again. Raises OSError."""
        codec = self._codec
        if codec is not None:
            if (self._opening and not self.send([])) or self.unsent:
                return False
            if not self._finishing:
                self._finishing = True
                last = codec.finish()
                if last and not self.send(last, is_sealed=True):
                    return False
        if not self.at_eof:  # else the socket is closed right away, which says the same
            self._socket.shutdown(socket.SHUT_WR)
        return True

    def open_without_payload(self) -> None:
        """The client has not spoken: tell the proxy the target all the same, if that was not done meanwhile."""
        if self._opening:
            try:
                self.send([])
            except OSError:
                self._owner.cut()  # the proxy is gone already

    # Bytes from the far side.

    def read(self, limit: int) -> list[Buffer]:
        """Take up to `limit` bytes off the socket, and return those that they open to; none may be whole yet.

        `at_eof` and `readable` say what is left. Raises BadPacket, and OSError when the far side reset the flow or
        left in the middle of a record.
        """
        context, reader = self._context, self._reader
        pieces: list[Buffer]
        try:
            if reader is None:
                data = self._socket.recv(limit)
                pieces = [data]
                received = len(data)
            else:
                had = len(reader.tail)
                received = self._socket.recv_into(context.scratch[had : had + limit])
                pieces = reader.read_behind_untrusted(context.scratch, received) if received else []
                self._budget.used += len(reader.tail) - had
                codec = self._codec
                if pieces and codec is not None:
                    if not self._heard:
                        self._hear(codec)
                    elif codec.transparent:
                        self._leave_codec_out()
        except BlockingIOError:
            self.readable = False
            return []
        if received >= LARGE:
            context.reactor.sleep_next()
        if received < limit:
            if self._at_end or not received:
                self.readable = False
                self.at_eof = True
                if reader is not None and reader.tail:  # bytes are missing: the client must not take this for the end
                    raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
                if self._spoke and not self._heard and not self._finishing:
                    context.servers.closed_unheard(self._route.label, self._name)
            elif not self._hung_up:
                self.readable = False  # epoll(7): after a short read the rest makes a new edge
        return pieces

    def _hear(self, codec: StreamCodec) -> None:
        """The first bytes of the flow came from the far side."""
        self._heard = True
        self._context.servers.answered(self._route.label)
        if codec.transparent:
            self._context.reactor.call_soon(self._leave_codec_out)

    def blame(self, error: BadPacket | OSError) -> None:
        """Tell what an error, of `send` or `read`, says about the server."""
        servers, label = self._context.servers, self._route.label
        if isinstance(error, ProxyRefused):
            servers.refused(label, error)
        elif isinstance(error, BadPacket):
            servers.garbled(label, error, self._heard or self._shaking)
        elif self._spoke and not self._heard:  # so may a server end it that cannot decrypt us
            servers.closed_unheard(label, self._name)

    # Being heard of.

    def keep_alive(self) -> None:
        """The flow has lasted a while: have the kernel probe the far side when it is silent for long."""
        if not self._kept_alive:
            self._kept_alive = True
            keepalive.begin(self._socket)

    def probe(self) -> None:
        """Have the kernel probe the far side now: whoever has forgotten the flow shows within seconds."""
        if self.stands:
            self._kept_alive = True
            keepalive.probe(self._socket, self._context.reactor)

    # The end.

    def close(self, reset: bool) -> None:
        """Give all back; `reset`: tell the far side that this is out of order."""
        self._owner = NOBODY
        self._opening = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        dial, self._dial = self._dial, None
        if dial is not None and dial.race is not None:
            dial.cancel()  # which closes the socket, too
            return
        sock = self._socket
        fd = sock.fileno()
        if fd < 0:
            return
        self._context.reactor.forget(fd)
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        sock.close()
        if self.unsent:
            self._budget.used -= sum(map(len, self.unsent))
            self.unsent = []
        if self._reader is not None and self._reader.tail:
            self._budget.used -= len(self._reader.tail)
            self._reader.tail = b""

    def _trace(self, what: str) -> None:
        if self._context.trace is not None:
            self._context.trace(f"{self._owner.about} {what}")
