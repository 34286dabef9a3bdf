"""TUIC in a QUIC connection: a one-way stream signs in, and then streams are flows and packets datagrams.

The server never says that it took us: one that did not closes the connection.

Read first: the TUIC protocol, version 0x05 (github.com/tuic-protocol/tuic, SPEC.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aioquic.quic import events

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.codec import Datagram
from tunflow.protocols.quic.connection import QUICConnection
from tunflow.protocols.quic.fragments import Fragments
from tunflow.protocols.session import SessionFlow
from tunflow.protocols.tuic import commands

TOKEN = 32
LARGEST_STREAM = 70_000
"""Bytes of a stream with one packet, beyond which it is none."""
STREAMS = 256
"""Streams with a packet that may be on their way."""
_SERVERS_UNI = 3

Received = Callable[[Sequence[Datagram]], None]


class TUICDialect:
    """As `quic.session.Dialect`; with `by_streams` each datagram has a stream of its own (`udp_relay_mode=quic`)."""

    refused: str | None = None
    advice = "if this goes on, check the UUID and password"

    def __init__(self, user: bytes, password: str, *, by_streams: bool) -> None:
        self.signed_in = False
        self._user = user
        self._password = password.encode()
        self._by_streams = by_streams
        self._connection: QUICConnection | None = None
        self._flows: dict[int, _Flow] = {}
        self._next_flow = 0
        self._arriving: dict[int, bytearray] = {}

    @property
    def has_flows(self) -> bool:
        """As `Dialect.has_flows`."""
        return bool(self._flows)

    def begin(self, connection: QUICConnection) -> None:
        """As `Dialect.begin`: the token is exported from the handshake, so that it is good for this one only."""
        self._connection = connection
        token = connection.export_key(self._user, self._password, TOKEN)
        self._say(commands.head(commands.AUTHENTICATE) + self._user + token)
        self.signed_in = True

    def heard_untrusted(self, event: events.QuicEvent) -> None:
        """As `Dialect.heard_untrusted`: packets on streams of their own."""
        if not isinstance(event, events.StreamDataReceived) or event.stream_id & 3 != _SERVERS_UNI:
            return
        arriving = self._arriving
        if event.stream_id not in arriving and len(arriving) >= STREAMS:
            return
        data = arriving.setdefault(event.stream_id, bytearray())
        if len(data) <= LARGEST_STREAM:
            data += event.data
        if event.end_stream:
            self.datagram_untrusted(bytes(arriving.pop(event.stream_id)))

    def datagram_untrusted(self, data: bytes) -> None:
        """As `Dialect.datagram_untrusted`."""
        try:
            packet = commands.open_packet_untrusted(data)
        except BadPacket:
            return
        flow = None if packet is None else self._flows.get(packet.association)
        if packet is not None and flow is not None:
            flow.take(packet)

    def open_flow(self, received: Received) -> SessionFlow:
        """As `Dialect.open_flow`."""
        number = self._next_flow
        while number in self._flows:
            number = (number + 1) & 0xFFFF
        self._next_flow = (number + 1) & 0xFFFF
        flow = self._flows[number] = _Flow(self, number, received)
        return flow

    def keep_alive(self) -> None:
        """A heartbeat, for the server to keep associations."""
        assert self._connection is not None
        self._connection.queue_datagram(commands.head(commands.HEARTBEAT))

    def send(self, association: int, packet: int, target: Endpoint, payload: Buffer) -> bool:
        """Send a datagram. Return True if that can be. Raises BadPacket."""
        connection = self._connection
        assert connection is not None
        if self._by_streams:
            (whole,) = commands.packets(association, packet, target, payload, 1 << 17)
            self._say(whole)
            return True
        pieces = commands.packets(association, packet, target, payload, connection.largest_datagram)
        return sum(map(connection.queue_datagram, pieces)) == len(pieces)

    def close_flow(self, number: int) -> None:
        """A client socket is gone."""
        if self._flows.pop(number, None) is not None:
            self._say(commands.head(commands.DISSOCIATE) + number.to_bytes(2, "big"))

    def _say(self, data: bytes) -> None:
        assert self._connection is not None
        stream = self._connection.get_next_available_stream_id(is_unidirectional=True)
        self._connection.send_stream_data(stream, data, end_stream=True)


class _Flow:
    """One client socket's datagrams. As `SessionFlow`."""

    is_resting = False

    def __init__(self, dialect: TUICDialect, number: int, received: Received) -> None:
        self._dialect = dialect
        self._number = number
        self._received = received
        self._pieces = Fragments()
        self._peer: Endpoint | None = None
        self._packet = 0

    def send(self, target: Endpoint, payloads: Sequence[Buffer]) -> int:
        """As `SessionFlow.send`."""
        dropped = 0
        for payload in payloads:
            self._packet = (self._packet + 1) & 0xFFFF
            try:
                dropped += not self._dialect.send(self._number, self._packet, target, payload)
            except BadPacket:
                dropped += 1
        return dropped

    def take(self, packet: commands.TUICPacket) -> None:
        """A packet came; pieces after the first have no address."""
        if packet.peer is not None:
            self._peer = packet.peer
        whole = self._pieces.put_untrusted(packet.packet, packet.piece, packet.pieces, packet.payload)
        if whole is not None and self._peer is not None:
            self._received([Datagram(self._peer, b"".join(whole))])

    def close(self) -> None:
        """As `SessionFlow.close`."""
        self._dialect.close_flow(self._number)
