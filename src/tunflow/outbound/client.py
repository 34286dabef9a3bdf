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

from tunflow.contained import Contained
from tunflow.endpoint import Address, Buffer
from tunflow.errors import BadPacket
from tunflow.loop.path import Path, path_of
from tunflow.loop.reactor import READ, WRITE, Reactor
from tunflow.loop.sockets import SocketOptions
from tunflow.outbound.agreement import agree
from tunflow.outbound.carrier import LoopCarrier
from tunflow.outbound.dialing import Dialing
from tunflow.protocols.chain import ChainedStream
from tunflow.protocols.codec import ProxyRefused, Refusal, StreamCodec
from tunflow.protocols.contract import CodecRoute, NotDialled, StreamRoute
from tunflow.protocols.sealed_reader import SealedReader

if TYPE_CHECKING:
    from tunflow.outbound.conduit_socket import ConduitDialing
    from tunflow.protocols.transport.tls import TLSClient

_RECEIVE_SIZE = 64 * 1024
_WRITE_PIECES = 64
"""Buffers in one `sendmsg`; Linux takes IOV_MAX (1024)."""


class StreamClient(Contained):
    """Dials at once. `received` is called with bytes of the flow; `lost` once, with the reason in words and whether the
    connection had stood; `opened` once, when it stands; `drained` when the kernel has taken all that was sent. None is
    called from within `send` or the constructor, nor after `close`.
    """

    def __init__(
        self,
        reactor: Reactor,
        route: StreamRoute,
        received: Callable[[Buffer], None],
        lost: Callable[[str, bool], None],
        sockets: SocketOptions,
        tls: TLSClient | None = None,
        opened: Callable[[], None] | None = None,
        drained: Callable[[], None] | None = None,
    ) -> None:
        self.refusal: Refusal | None = None
        """What a proxy answered, where that was no."""
        self.failure: OSError | BadPacket | None = None
        """What ended it, where that was the network or what the servers said."""
        self.address: Address | None = None
        """Where the socket goes."""
        self._opened = opened
        self._drained = drained
        self.heard_at: float | None = None
        """When bytes last came, in the reactor's time."""
        self._reactor = reactor
        self._received = received
        self._lost = lost
        self._sockets = sockets
        self._tls = tls
        self._codec: StreamCodec | None = route.codec
        self._trouble = _no_trouble if isinstance(route, CodecRoute) else route.trouble
        if tls is not None:
            self._codec = tls if route.codec is None else ChainedStream(route.codec, tls)
        self._waiting: list[Buffer] = []
        """Bytes of the flow, not sealed yet."""
        self._outgoing: list[Buffer] = []
        self._reader = None if self._codec is None else SealedReader(self._codec.open_untrusted)
        self._socket: socket.socket | None = None
        self._watched = 0
        self._reading = READ
        self._connected = False
        self.closed = False
        self._dialing: Dialing[socket.socket] | ConduitDialing | None = self._dial(route)

    @property
    def established(self) -> bool:
        """True if the connection stands, the proxies agreed, and TLS stands on it."""
        return self._connected and (self._codec is None or self._codec.established)

    def send(self, pieces: Sequence[Buffer]) -> None:
        """Send bytes, as soon as it is possible."""
        self._waiting += pieces
        if self._connected:
            self._watch(self._reading | WRITE)

    def hold(self, is_held: bool) -> None:
        """Read nothing more for a while, or go on."""
        self._reading = 0 if is_held else READ
        if self._connected:
            self._watch(self._reading | self._watched & WRITE)

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        where = "" if self.address is None else f" to {self.address.sockaddr[0]}"
        return f"a connection{where}"

    def cut(self) -> None:
        """As `Contained.cut`: whoever opened it hears of its end."""
        self._end("internal error")

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return sum(map(len, self._waiting)) + sum(map(len, self._outgoing))

    @property
    def path(self) -> Path | None:
        """The addresses that its packets go between; None when it is not on its way."""
        if self._socket is None or self.address is None:
            return None
        return path_of(self._socket, self.address.sockaddr[0])

    def take_socket(self) -> tuple[socket.socket, bytes]:
        """The socket, for somebody else to go on with, and the start of a record that is not whole."""
        taken, self._socket = self._socket, None
        assert taken is not None
        self._reactor.remove(taken.fileno())
        self.closed = True
        return taken, b"" if self._reader is None else self._reader.tail

    def close(self) -> None:
        """Give the descriptor back."""
        self.closed = True
        self._drop_socket()

    # Dialing.

    def _dial(self, route: StreamRoute) -> Dialing[socket.socket] | ConduitDialing:
        if isinstance(route, CodecRoute):
            return Dialing(self._reactor, route.addresses, self._open, self._on_dialled, server=route.server)
        from tunflow.outbound.conduit_socket import ConduitDialing  # noqa: PLC0415 (which few need)

        carrier = carrier_on(self._reactor, self._sockets)
        return ConduitDialing(self._reactor, carrier, route.dial, self._on_dialled)

    def _open(self, address: Address) -> socket.socket:
        sock = self._sockets.open(address.family, socket.SOCK_STREAM)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def _on_dialled(self, sock: socket.socket | None, address: Address | None, error: NotDialled) -> None:
        self._dialing = None
        if sock is None:
            if error == errno.ENETDOWN and (trouble := self._trouble()) is not None:
                error = BadPacket(trouble)
            failure = OSError(error, os.strerror(error)) if isinstance(error, int) else error
            if isinstance(failure, ProxyRefused):
                self.refusal = failure.refusal
            self.failure = failure
            self._end((isinstance(failure, OSError) and failure.strerror) or str(failure))
            return
        self._socket, self.address = sock, address
        self._connected = True
        self._watched = WRITE
        self._reactor.add(sock.fileno(), WRITE, self._on_event)
        self._on_event(WRITE)

    def _drop_socket(self) -> None:
        if self._dialing is not None:
            self._dialing.cancel()
            self._dialing = None
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
            self._hand_on(self._exchange(events))
            if self._opened is not None and self.established and not self.closed:
                opened, self._opened = self._opened, None
                opened()
        except BlockingIOError:
            return
        except OSError as error:
            self.failure = error
            self._end(error.strerror or str(error))
        except BadPacket as error:
            self.failure = error
            if isinstance(error, ProxyRefused):
                self.refusal = error.refusal
            self._send_alert(sock)
            self._end(str(error))

    def _watch(self, events: int) -> None:
        if self._socket is not None and events != self._watched:
            self._watched = events
            self._reactor.modify(self._socket.fileno(), events)

    def _exchange(self, events: int) -> list[Buffer]:
        """Say what there is to say; what came of the flow. Raises OSError, BadPacket."""
        codec, reader = self._codec, self._reader
        flow: list[Buffer] = []
        if codec is not None and reader is not None and not codec.established:
            flow = agree(codec, reader, self._transmit, self._receive, bool(events & ~WRITE))
            events = WRITE if codec.established else 0
        if events & WRITE:
            pieces, self._waiting = self._waiting, []
            self._transmit(codec.seal(pieces) if codec is not None and pieces else pieces)
        if events & ~WRITE:
            data = self._receive(_RECEIVE_SIZE)
            if not data:
                self._end("the connection was closed")
            else:
                flow += [data] if reader is None else reader.read_untrusted(data)
        return flow

    def _transmit(self, pieces: list[Buffer]) -> None:
        """Write what the socket takes and keep the rest. Raises OSError."""
        outgoing = self._outgoing
        outgoing += pieces
        if outgoing and self._socket is not None:
            with suppress(BlockingIOError):
                sent = self._socket.sendmsg(outgoing[:_WRITE_PIECES])
                done = 0
                while done < len(outgoing) and sent >= len(outgoing[done]):
                    sent -= len(outgoing[done])
                    done += 1
                del outgoing[:done]
                if sent:
                    outgoing[0] = memoryview(outgoing[0])[sent:]
        self._watch(self._reading | WRITE if outgoing else self._reading)
        if not outgoing and self._drained is not None:
            self._drained()

    def _receive(self, size: int) -> bytes:
        """Read once; empty at the end. Raises OSError."""
        assert self._socket is not None
        data = self._socket.recv(size)
        if data:
            self.heard_at = self._reactor.now
        return data

    def _hand_on(self, flow: list[Buffer]) -> None:
        if self.closed:
            return
        if flow:  # as one: each record alone would have all that is behind it go round
            self._received(flow[0] if len(flow) == 1 else b"".join(flow))
        if self._tls is not None and self._tls.over:
            self._end("the connection was closed")

    def _send_alert(self, sock: socket.socket) -> None:
        """TLS tells the server's administrator what is wrong, if the socket takes it."""
        if self._tls is not None and self._codec is not None:
            with suppress(OSError):
                sock.sendmsg(self._codec.seal(()))


def _no_trouble() -> str | None:
    """Sockets have errors that say it."""
    return None


def carrier_on(reactor: Reactor, sockets: SocketOptions) -> LoopCarrier:
    """Who carries sessions on a loop, by connections with these options."""

    def open_stream(
        route: StreamRoute,
        received: Callable[[Buffer], None],
        lost: Callable[[str, bool], None],
        opened: Callable[[], None],
        drained: Callable[[], None],
    ) -> StreamClient:
        return StreamClient(reactor, route, received, lost, sockets, opened=opened, drained=drained)

    return LoopCarrier(reactor, open_stream)
