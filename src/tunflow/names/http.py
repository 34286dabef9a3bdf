"""DNS over HTTPS: queries as requests of one HTTP/2 connection.

Rules: POST, so that nobody caches or logs a name in a URL; the message's identifier is 0 (RFC 8484 §4.1); the answer is
the body of a 200 with the right type, 64 KB at most. The protocol itself is h2's, which holds no socket.

Read first: RFC 8484, RFC 9113.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from tunflow.dns.messages import with_identifier
from tunflow.endpoint import Buffer
from tunflow.names.stream_resolver import Lost, Received
from tunflow.outbound.client import StreamClient

LARGEST = 65535
TYPE = "application/dns-message"
_OPEN_WINDOW = 1 << 20


class HTTPSession:
    """One connection. `open_client` dials, with TLS that speaks `h2`."""

    def __init__(
        self,
        host: str,
        path: str,
        open_client: Callable[[Callable[[Buffer], None], Lost], StreamClient],
        received: Received,
        lost: Lost,
    ) -> None:
        self._headers = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", host),
            (":path", path),
            ("accept", TYPE),
            ("content-type", TYPE),
        ]
        self._received = received
        self._lost = lost
        self._http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self._http.initiate_connection()
        self._http.increment_flow_control_window(_OPEN_WINDOW)
        self._numbers: dict[int, int] = {}
        """By stream, what it was asked under."""
        self._bodies: dict[int, bytearray] = {}
        self._waiting: list[tuple[int, bytes]] = []
        """For a stream to become free."""
        self._client = open_client(self._bytes, lost)
        self._flush()

    @property
    def heard_at(self) -> float | None:
        """When bytes last came."""
        return self._client.heard_at

    def ask(self, number: int, message: bytes) -> None:
        """Send a query."""
        self._waiting.append((number, message))
        self._send_waiting()

    def close(self) -> None:
        """Give the descriptor back."""
        self._client.close()

    def _send_waiting(self) -> None:
        http = self._http
        try:
            while self._waiting and http.open_outbound_streams < http.remote_settings.max_concurrent_streams:
                number, message = self._waiting.pop(0)
                stream = http.get_next_available_stream_id()
                self._numbers[stream] = number
                http.send_headers(stream, [*self._headers, ("content-length", str(len(message)))])
                http.send_data(stream, with_identifier(message, 0), end_stream=True)
        except h2.exceptions.ProtocolError as error:  # no window, no stream left: a fresh connection has them
            self._fail(f"HTTP/2: {error}")
            return
        self._flush()

    def _flush(self) -> None:
        data = self._http.data_to_send()
        if data:
            self._client.send([data])

    def _bytes(self, data: Buffer) -> None:
        try:
            events = self._http.receive_data(bytes(data))
        except h2.exceptions.ProtocolError as error:
            self._flush()
            self._fail(f"HTTP/2: {error or type(error).__name__}")
            return
        for event in events:
            if self._client.closed:
                return
            self._handle(event)
        if not self._client.closed:
            self._send_waiting()

    def _handle(self, event: Any) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            headers: dict[Any, Any] = dict(event.headers or ())
            if headers.get(":status") == "200" and headers.get("content-type", "").startswith(TYPE):
                self._bodies[event.stream_id] = bytearray()
        elif isinstance(event, h2.events.DataReceived):
            self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            body = self._bodies.get(event.stream_id)
            if body is not None:
                body += event.data
                if len(body) > LARGEST:
                    del self._bodies[event.stream_id]
        elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
            number = self._numbers.pop(event.stream_id or 0, None)
            body = self._bodies.pop(event.stream_id or 0, None)
            if number is not None:
                ended = isinstance(event, h2.events.StreamEnded)
                self._received(number, bytes(body) if body is not None and ended else b"")
        elif isinstance(event, h2.events.ConnectionTerminated):
            self._fail("the connection was closed")

    def _fail(self, why: str) -> None:
        if not self._client.closed:
            established = self._client.heard_at is not None
            self._client.close()
            self._lost(why, established)
