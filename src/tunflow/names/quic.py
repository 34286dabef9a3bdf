"""DNS over QUIC: each query on a stream of its own, of one connection. The protocol is aioquic's, without sockets.

Rules: the message's identifier is 0, and a stream ends behind its query (RFC 9250 §4.2, §4.2.1). Nothing is sent before
the handshake is over, so that no query can be replayed. What breaks the protocol ends the connection.

Read first: RFC 9250, RFC 9000.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from tunflow.contained import Contained
from tunflow.dns.messages import frame, with_identifier
from tunflow.endpoint import Address, Endpoint
from tunflow.errors import BadPacket
from tunflow.loop.reactor import READ, Reactor, Timer
from tunflow.loop.socket_address import address_of
from tunflow.loop.sockets import SocketOptions
from tunflow.names.stream_resolver import Lost, Received
from tunflow.protocols.contract import DatagramRoute

ALPN = "doq"
NO_ERROR = 0
"""RFC 9250 §4.3, DOQ_NO_ERROR."""
PROTOCOL_ERROR = 2
LARGEST = 2 + 65535
IDLE = 30.0
"""Seconds; `stream_resolver` closes before that."""
_BATCH = 64
_PEER = ("resolver", 0)
"""What aioquic is told the peer's address is: the socket is connected."""


class QUICSession(Contained):
    """One connection to `target`, whose certificate must be that of `name`; see `DNSStream` for when it calls back.

    Raises OSError.
    """

    def __init__(
        self,
        reactor: Reactor,
        label: str,
        target: Endpoint,
        name: str,
        route: DatagramRoute,
        sockets: SocketOptions,
        received: Received,
        lost: Lost,
    ) -> None:
        self.heard_at: float | None = None
        """When bytes last came."""
        self._reactor = reactor
        self._label = label
        self._target = target
        self._codec = route.codec
        self._received = received
        self._lost = lost
        self._numbers: dict[int, int] = {}
        """By stream, what it was asked under."""
        self._answers: dict[int, bytearray] = {}
        self._waiting: list[tuple[int, bytes]] | None = []
        """Until the handshake is over."""
        self._timer: Timer | None = None
        self._closed = False
        address: Address = route.addresses[0] if route.addresses else address_of(target)
        self._sock = sockets.open(address.family, socket.SOCK_DGRAM)
        try:
            self._sock.connect(address.sockaddr)
            reactor.add(self._sock.fileno(), READ, self._on_event)
        except OSError:
            self._sock.close()
            raise
        self._quic = QuicConnection(configuration=_configuration(name))
        self._quic.connect(_PEER, reactor.now)
        self._flush()

    def ask(self, number: int, message: bytes) -> None:
        """Send a query."""
        if self._waiting is not None:
            self._waiting.append((number, message))
            return
        stream = self._quic.get_next_available_stream_id()
        self._numbers[stream] = number
        self._quic.send_stream_data(stream, frame(with_identifier(message, 0)), end_stream=True)
        self._flush()

    def close(self) -> None:
        """Give the descriptor back."""
        if self._closed:
            return
        self._quic.close(NO_ERROR)
        with suppress(OSError):
            self._send()
        self._drop()

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"the resolver {self._label}"

    def cut(self) -> None:
        """As `Contained.cut`."""
        if not self._closed:
            self._fail("a mistake of ours ended the connection")

    def _on_event(self, _events: int) -> None:
        for _ in range(_BATCH):
            try:
                datagram = self._sock.recv(LARGEST)
            except BlockingIOError:
                break
            except OSError as error:  # what an ICMP error made of the socket
                self._fail(error.strerror or str(error))
                return
            try:
                data = bytes(self._codec.open_untrusted(datagram)[1]) if self._codec is not None else datagram
            except BadPacket:
                continue
            self.heard_at = self._reactor.now
            self._quic.receive_datagram(data, _PEER, self._reactor.now)
        self._serve()

    def _on_timer(self) -> None:
        self._timer = None
        self._quic.handle_timer(self._reactor.now)
        self._serve()

    def _serve(self) -> None:
        """Take in what happened, and send what came of it."""
        while not self._closed and (event := self._quic.next_event()) is not None:
            self._handle(event)
        self._flush()

    def _handle(self, event: events.QuicEvent) -> None:
        if isinstance(event, events.HandshakeCompleted):
            waiting, self._waiting = self._waiting or [], None
            for number, message in waiting:
                self.ask(number, message)
        elif isinstance(event, events.StreamDataReceived):
            self._take(event.stream_id, event.data, event.end_stream)
        elif isinstance(event, events.StreamReset):
            self._answer(event.stream_id, b"")
        elif isinstance(event, events.ConnectionTerminated):
            words = event.reason_phrase or f"the connection was closed (QUIC error {event.error_code})"
            self._fail(words)

    def _take(self, stream: int, data: bytes, is_end: bool) -> None:
        if stream not in self._numbers:
            return
        answer = self._answers.setdefault(stream, bytearray())
        answer += data
        if len(answer) > LARGEST:
            self._quic.close(PROTOCOL_ERROR)
        elif is_end:
            size = int.from_bytes(answer[:2], "big")
            self._answer(stream, bytes(answer[2:]) if len(answer) == 2 + size else b"")

    def _answer(self, stream: int, message: bytes) -> None:
        self._answers.pop(stream, None)
        number = self._numbers.pop(stream, None)
        if number is not None:
            self._received(number, with_identifier(message, number) if message else b"")

    def _flush(self) -> None:
        if self._closed:
            return
        try:
            self._send()
        except OSError as error:
            why = error.strerror or str(error)
            self._reactor.call_soon(lambda: self._fail(why))
            return
        if self._timer is not None:
            self._timer.cancel()
        when = self._quic.get_timer()
        self._timer = self._reactor.call_at(when, self._on_timer) if when is not None else None

    def _send(self) -> None:
        """Raises OSError."""
        for data, _ in self._quic.datagrams_to_send(self._reactor.now):
            with suppress(BlockingIOError):  # it is sent again, as one that was lost
                self._sock.send(data if self._codec is None else self._codec.seal(self._target, data))

    def _fail(self, why: str) -> None:
        if not self._closed:
            self._drop()
            self._lost(why, self._waiting is None)

    def _drop(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._reactor.remove(self._sock.fileno())
        self._sock.close()


def open_quic(
    reactor: Reactor,
    label: str,
    target: Endpoint,
    name: str,
    route: Callable[[], DatagramRoute],
    sockets: SocketOptions,
) -> Callable[[Received, Lost], QUICSession]:
    """Opens connections to one resolver, each by the route of its moment; that may raise Blocked."""

    def open_session(received: Received, lost: Lost) -> QUICSession:
        return QUICSession(reactor, label, target, name, route(), sockets, received, lost)

    return open_session


def _configuration(name: str) -> QuicConfiguration:
    """A client's, which trusts what the system trusts (or SSL_CERT_FILE says)."""
    paths = ssl.get_default_verify_paths()
    return QuicConfiguration(
        is_client=True,
        alpn_protocols=[ALPN],
        server_name=name,
        idle_timeout=IDLE,
        cafile=paths.cafile,
        capath=paths.capath,
    )
