"""A QUIC connection that many flows share, as a machine: what is said in it is a `Dialect`'s.

Rules:
1. Streams and flows may be opened once the dialect has signed in.
2. The server's certificate is judged before anything is said: by its authority unless that is not wanted, and by its
   fingerprint where one is given.
3. A used connection is kept alive by a PING every `KEEP_ALIVE` seconds, so that one that is lost is noticed after
   `IDLE_TIMEOUT`.

aioquic draws its randomness, and reads the time for certificates, by itself; the time of the connection is ours.

Read first: RFC 9000, RFC 9001, RFC 9221.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration

from tunflow.conduit import Conduit
from tunflow.endpoint import Buffer, Endpoint
from tunflow.protocols.codec import Datagram, Refusal
from tunflow.protocols.quic.connection import WINDOW, QUICConnection
from tunflow.protocols.quic.stream import QUICStream
from tunflow.protocols.session import SessionFlow

KEEP_ALIVE = 10.0
IDLE_TIMEOUT = 30.0

_PEER = ("server", 0)
"""What aioquic is told the server's address is: it may change without the connection's notice."""

_CRYPTO_ERRORS = range(0x100, 0x200)
"""RFC 9000 §20.1: an alert of TLS."""
_CERTIFICATE_ALERTS = frozenset({42, 43, 44, 45, 46, 48})
_NO_PROTOCOL = 120

Received = Callable[[Sequence[Datagram]], None]

logging.getLogger("quic").addHandler(logging.NullHandler())  # what goes wrong is told by us


@dataclass(frozen=True, slots=True)
class QUICPeer:
    """Whom a connection is to."""

    name: str
    """What its certificate is for, and TLS asks for."""
    alpn: tuple[str, ...]
    insecure: bool = False
    """True if any authority's word, or none, will do."""
    pinned: str | None = None
    """SHA-256 of the only certificate that is accepted, in hexadecimal."""
    congestion: str = "cubic"
    """aioquic's name of what governs how fast we send."""


class Dialect(Protocol):
    """What one protocol says in a QUIC connection; it is used once."""

    @property
    def advice(self) -> str:
        """What to look at when the server closes the connection; empty where it says so itself."""

    @property
    def signed_in(self) -> bool:
        """True if the server took us."""

    @property
    def refused(self) -> str | None:
        """Why it did not, in words."""

    def begin(self, connection: QUICConnection) -> None:
        """The handshake is over: sign in."""

    def heard_untrusted(self, event: events.QuicEvent) -> None:
        """Something happened on a stream that is no flow's."""

    def datagram_untrusted(self, data: bytes) -> None:
        """A DATAGRAM frame came."""

    def open_flow(self, received: Received) -> SessionFlow:
        """As `SessionMachine.open_flow`."""

    @property
    def has_flows(self) -> bool:
        """True if there are flows."""

    def keep_alive(self) -> None:
        """Say what the protocol says when nothing else is said."""


class QUICMachine:
    """As `SessionMachine`. Its datagrams have `largest` bytes at most; `seal` and `opened` disguise them."""

    def __init__(
        self,
        peer: QUICPeer,
        dialect: Dialect,
        largest: int,
        seal: Callable[[bytes], bytes] | None = None,
        opened: Callable[[Buffer], bytes | None] | None = None,
    ) -> None:
        self.stands = False
        self.over: str | None = None
        self.heard_at: float | None = None
        self.has_output = False
        self.changed: list[Conduit] = []
        self._peer = peer
        self._dialect = dialect
        self._seal = seal
        self._opened = opened
        self._connection = QUICConnection(_configuration(peer, largest))
        self._streams: dict[int, QUICStream] = {}
        self._full: set[QUICStream] = set()
        self._draining: set[int] = set()
        """Streams that are over here, and of which the server has not acknowledged all."""
        self._keep_alive_at = 0.0

    @property
    def is_used(self) -> bool:
        """As `SessionMachine.is_used`."""
        return bool(self._streams) or self._dialect.has_flows

    @property
    def is_drained(self) -> bool:
        """As `SessionMachine.is_drained`."""
        unacknowledged = self._connection.unacknowledged
        self._draining = {number for number in self._draining if unacknowledged(number)}
        return not self._draining and not any(unacknowledged(number) for number in self._streams)

    def connect(self, now: float) -> None:
        """As `SessionMachine.connect`."""
        self._keep_alive_at = now + KEEP_ALIVE
        self._connection.connect(_PEER, now)
        self.has_output = True

    def receive_untrusted(self, datagram: Buffer, now: float) -> None:
        """As `SessionMachine.receive_untrusted`."""
        data = bytes(datagram) if self._opened is None else self._opened(datagram)
        if data is None or self.over is not None:
            return
        if self._connection.take_untrusted(data, _PEER, now):
            self.heard_at = now
        self._take_events()

    def outgoing(self, now: float) -> list[bytes]:
        """As `SessionMachine.outgoing`."""
        self.has_output = False
        datagrams = [data for data, _ in self._connection.datagrams_to_send(now)]
        return datagrams if self._seal is None else [self._seal(data) for data in datagrams]

    def next_timeout(self) -> float | None:
        """As `Timed.next_timeout`."""
        when = self._connection.get_timer()
        return self._keep_alive_at if when is None else min(when, self._keep_alive_at)

    def handle_timeout(self, now: float) -> None:
        """As `Timed.handle_timeout`."""
        self.has_output = True
        if now >= self._keep_alive_at:
            self._keep_alive_at = now + KEEP_ALIVE
            if self.stands and self.is_used:
                self._dialect.keep_alive()
                self._connection.send_ping(0)
        when = self._connection.get_timer()
        if when is not None and when <= now:
            self._connection.handle_timer(now)
        self._take_events()

    def open_stream(self) -> Conduit:
        """As `SessionMachine.open_stream`."""
        connection = self._connection
        number = connection.get_next_available_stream_id()
        connection.send_stream_data(number, b"")  # the number is taken
        stream = self._streams[number] = QUICStream(connection, number, self._full, self._touch, self._left)
        return stream

    def open_flow(self, received: Received) -> SessionFlow:
        """As `SessionMachine.open_flow`."""
        return TouchingFlow(self._dialect.open_flow(received), self._touch)

    def close(self, now: float) -> None:  # noqa: ARG002
        """As `SessionMachine.close`."""
        if self.over is None:
            self._connection.close()
            self._end("closed")

    # Inside.

    def _touch(self) -> None:
        self.has_output = True

    def _left(self, stream: QUICStream) -> None:
        del self._streams[stream.number]
        self._connection.forget(stream.number)
        self._full.discard(stream)
        self._draining.add(stream.number)

    def _take_events(self) -> None:
        self.has_output = True
        connection = self._connection
        while (event := connection.next_event()) is not None:
            if isinstance(event, events.StreamDataReceived) and event.stream_id in self._streams:
                stream = self._streams[event.stream_id]
                stream.arrived(event.data, event.end_stream)
                self.changed.append(stream)
            elif isinstance(event, events.DatagramFrameReceived):
                self._dialect.datagram_untrusted(event.data)
            else:
                self._happened(event)
        for stream in [stream for stream in self._full if stream.send_room]:
            self._full.discard(stream)
            self.changed.append(stream)
        if connection.closing is not None:
            self._end(self._why(connection.closing))
        if self._dialect.refused is not None and self.over is None:
            self._connection.close()
            self._end(self._dialect.refused)
        self.stands = self._dialect.signed_in and self.over is None

    def _happened(self, event: events.QuicEvent) -> None:
        if isinstance(event, events.HandshakeCompleted):
            if self._is_trusted():
                self._dialect.begin(self._connection)
        elif isinstance(event, events.StreamReset) and event.stream_id in self._streams:
            stream = self._streams[event.stream_id]
            stream.lost()
            self.changed.append(stream)
        elif isinstance(event, events.StopSendingReceived) and event.stream_id in self._streams:
            self._streams[event.stream_id].unwanted()
        else:
            self._dialect.heard_untrusted(event)

    def _is_trusted(self) -> bool:
        pinned, found = self._peer.pinned, self._connection.fingerprint
        if pinned is None or (found is not None and found.hex() == pinned):
            return True
        shown = "none" if found is None else found.hex()
        self._connection.close()
        self._end(f"{Refusal.CERTIFICATE.value} (its fingerprint is {shown}, not the pinned one)")
        return False

    def _why(self, event: events.ConnectionTerminated) -> str:
        words = event.reason_phrase
        if event.error_code in _CRYPTO_ERRORS:
            alert = event.error_code - _CRYPTO_ERRORS.start
            if alert in _CERTIFICATE_ALERTS:
                return f"{Refusal.CERTIFICATE.value} ({words})" if words else Refusal.CERTIFICATE.value
            if alert == _NO_PROTOCOL:
                return f"it does not speak {', '.join(self._peer.alpn)} (ALPN)"
            return f"TLS: {words or f'alert {alert}'}"
        if words == "Idle timeout":
            return "no answer any more" if self.stands else "no answer"
        advice = f": {self._dialect.advice}" if self._dialect.advice else ""
        return f"it closed the connection ({words or f'QUIC error {event.error_code:#x}'}){advice}"

    def _end(self, why: str) -> None:
        if self.over is not None:
            return
        self.over = why
        self.stands = False
        self.has_output = True
        for stream in tuple(self._streams.values()):
            stream.lost()
            self.changed.append(stream)


class TouchingFlow:
    """A dialect's flow whose session notices that there is something to send. As `SessionFlow`."""

    def __init__(self, flow: SessionFlow, touch: Callable[[], None]) -> None:
        self._flow = flow
        self._touch = touch

    @property
    def is_resting(self) -> bool:
        """As `SessionFlow.is_resting`."""
        return self._flow.is_resting

    def send(self, target: Endpoint, payloads: Sequence[Buffer]) -> int:
        """As `SessionFlow.send`."""
        self._touch()
        return self._flow.send(target, payloads)

    def close(self) -> None:
        """As `SessionFlow.close`."""
        self._touch()
        self._flow.close()


def _configuration(peer: QUICPeer, largest: int) -> QuicConfiguration:
    """A client's, which trusts what the system trusts (or SSL_CERT_FILE says)."""
    paths = ssl.get_default_verify_paths()
    return QuicConfiguration(
        is_client=True,
        alpn_protocols=list(peer.alpn),
        server_name=peer.name,
        idle_timeout=IDLE_TIMEOUT,
        cafile=paths.cafile,
        capath=paths.capath,
        verify_mode=ssl.CERT_NONE if peer.insecure else ssl.CERT_REQUIRED,
        max_datagram_size=largest,
        max_datagram_frame_size=65535,
        max_data=8 * WINDOW,
        max_stream_data=WINDOW,
        congestion_control_algorithm=peer.congestion,
    )
