"""Hysteria2 in a QUIC connection: a request of HTTP/3 signs in, and then streams and datagrams are flows.

Read first: the Hysteria 2 protocol, "Authentication", "UDP" (v2.hysteria.network/docs/developers/Protocol); RFC 9114.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aioquic.h3.connection import H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic import events

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.codec import Datagram
from tunflow.protocols.hysteria2.messages import (
    format_target,
    fragments,
    open_message_untrusted,
    parse_target_untrusted,
)
from tunflow.protocols.quic.connection import QUICConnection
from tunflow.protocols.quic.fragments import Fragments
from tunflow.protocols.session import SessionFlow

AUTHENTICATED = b"233"
_SERVERS_UNI = 3
"""The low two bits of the server's one-way streams' numbers (RFC 9000 §2.1)."""

Received = Callable[[Sequence[Datagram]], None]


class Hysteria2Dialect:
    """As `quic.session.Dialect`. `down` is how much the server may send, in bytes a second; 0 for what it finds out."""

    advice = ""

    def __init__(self, password: str, down: int, random_bytes: Callable[[int], bytes]) -> None:
        self.signed_in = False
        self.refused: str | None = None
        self.carries_datagrams = False
        """True if the server takes UDP."""
        self._password = password
        self._down = down
        self._random_bytes = random_bytes
        self._connection: QUICConnection | None = None
        self._http: H3Connection | None = None
        self._stream = -1
        self._flows: dict[int, _Flow] = {}
        self._next_flow = 1

    @property
    def has_flows(self) -> bool:
        """As `Dialect.has_flows`."""
        return bool(self._flows)

    def begin(self, connection: QUICConnection) -> None:
        """As `Dialect.begin`."""
        self._connection = connection
        self._http = H3Connection(connection)
        self._stream = connection.get_next_available_stream_id()
        padding = self._random_bytes(256)
        fields = [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", b"hysteria"),
            (b":path", b"/auth"),
            (b"hysteria-auth", self._password.encode()),
            (b"hysteria-cc-rx", str(self._down).encode()),
            (b"hysteria-padding", bytes(0x41 + byte % 26 for byte in padding[: 64 + padding[0] // 2])),
        ]
        self._http.send_headers(self._stream, fields, end_stream=True)

    def heard_untrusted(self, event: events.QuicEvent) -> None:
        """As `Dialect.heard_untrusted`."""
        if not isinstance(event, events.StreamDataReceived) or self._http is None:
            return
        # A flow's stream that is over here may still bring bytes, which are no HTTP.
        if event.stream_id != self._stream and event.stream_id & 3 != _SERVERS_UNI:
            return
        for answer in self._http.handle_event(event):
            if isinstance(answer, HeadersReceived) and answer.stream_id == self._stream and not self.signed_in:
                self._answered(dict(answer.headers))

    def datagram_untrusted(self, data: bytes) -> None:
        """As `Dialect.datagram_untrusted`."""
        try:
            message = open_message_untrusted(data)
            flow = self._flows.get(message.session)
            if flow is None:
                return
            whole = flow.pieces.put_untrusted(message.packet, message.piece, message.pieces, message.payload)
            if whole is not None:
                flow.received([Datagram(parse_target_untrusted(message.target), b"".join(whole))])
        except BadPacket:
            return

    def open_flow(self, received: Received) -> SessionFlow:
        """As `Dialect.open_flow`."""
        assert self._connection is not None
        number = self._next_flow
        self._next_flow = number % 0xFFFFFFFF + 1
        flow = _Flow(self._connection, number, received, self._close_flow, not self.carries_datagrams)
        self._flows[number] = flow
        return flow

    def keep_alive(self) -> None:
        """Nothing: QUIC's own is enough."""

    def _close_flow(self, number: int) -> None:
        self._flows.pop(number, None)

    def _answered(self, fields: dict[bytes, bytes]) -> None:
        status = fields.get(b":status", b"")
        if status == AUTHENTICATED:
            self.signed_in = True
            self.carries_datagrams = fields.get(b"hysteria-udp", b"").lower() == b"true"
        elif status == b"404":
            self.refused = "it does not accept the password (it answers as a web site)"
        else:
            shown = status.decode("ascii", "replace")
            self.refused = f"it answered {shown} where a Hysteria2 server says 233: check the password"


class _Flow:
    """One client socket's datagrams. As `SessionFlow`."""

    def __init__(
        self,
        connection: QUICConnection,
        number: int,
        received: Received,
        close: Callable[[int], None],
        is_resting: bool,
    ) -> None:
        self.received = received
        self.pieces = Fragments()
        self.is_resting = is_resting
        """True if the server takes no UDP."""
        self._connection = connection
        self._number = number
        self._close = close
        self._packet = 0

    def send(self, target: Endpoint, payloads: Sequence[Buffer]) -> int:
        """As `SessionFlow.send`."""
        if self.is_resting:
            return len(payloads)
        address, connection = format_target(target), self._connection
        dropped = 0
        for payload in payloads:
            self._packet = self._packet % 0xFFFF + 1
            try:
                messages = fragments(self._number, self._packet, address, payload, connection.largest_datagram)
            except BadPacket:
                dropped += 1
                continue
            dropped += sum(map(connection.queue_datagram, messages)) < len(messages)
        return dropped

    def close(self) -> None:
        """As `SessionFlow.close`."""
        self._close(self._number)
