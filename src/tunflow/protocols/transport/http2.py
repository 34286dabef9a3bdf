"""Streams in one HTTP/2 connection, as gRPC, HTTP/2 and XHTTP transports have them (RFC 9113, by h2).

A session is a machine (`protocols.stream_session`): it is opened for the first stream and shared by those that come
while it has room. Memory is bounded: a stream keeps `WINDOW` bytes that its owner did not take, and `QUEUE` that the
server did not; a session has `MOST` streams, or as many as it is told. One that is silent when
asked for a sign of life is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.protocols.codec import ProxyRefused
from tunflow.protocols.many_streams import ManyStreams
from tunflow.protocols.shared_stream import SharedStream
from tunflow.protocols.transport.goaway import GoAwayFilter

MOST = 16
"""Streams of a session: with more, one lost packet holds up too many."""
WINDOW = 1024 * 1024
_FRAME = 65536
"""Bytes of a frame that a server may send."""
IDLE = 60.0
"""Seconds without a byte after which a session is closed that has no streams."""
QUIET = 10.0
"""Seconds without a byte after which a sign of life is asked for, while there are streams."""
PATIENCE = 8.0
"""Seconds for that sign."""

Headers = list[tuple[str, str]]
Judge = Callable[[Mapping[str, str]], ProxyRefused | None]
"""What an answer's headers (or its last ones) refuse, if anything."""


class HTTP2Session(ManyStreams):
    """The client's end of one connection, whose streams are opened by `headers`. As `StreamSession`."""

    def __init__(self, headers: Headers, judge: Judge, most: int = MOST) -> None:
        super().__init__()
        self._headers = headers
        self._judge = judge
        self._most = most
        self._connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        wanted = {SettingCodes.ENABLE_PUSH: 0, SettingCodes.INITIAL_WINDOW_SIZE: WINDOW}
        self._connection.local_settings = Settings(initial_values={**wanted, SettingCodes.MAX_FRAME_SIZE: _FRAME})
        self._connection.max_inbound_frame_size = _FRAME  # h2 sees a setting that changes later only
        self._goaway = GoAwayFilter()
        self._heard_at = self._asked_at = 0.0
        self._is_asking = False

    @property
    def has_room(self) -> bool:
        """True if another stream may be opened, those that wait counted in."""
        most = min(self._most, self._connection.remote_settings.max_concurrent_streams)
        return not self.is_over and not self._goaway.is_leaving and self.load < most

    def open(self, now: float) -> SharedStream | None:
        """A stream, once it stands; None where the server takes no more of them."""
        if self.is_over or self._goaway.is_leaving:
            return None
        try:
            number = self._connection.get_next_available_stream_id()
            self._connection.send_headers(number, self._headers)
        except H2Error:
            return None
        made = self._streams[number] = SharedStream(self, number)
        if now - self._heard_at >= QUIET and not self._is_asking:
            self._ask(now)
        self.wake()
        return made

    # As `StreamSession`.

    is_full = False
    """Streams have windows."""

    def connected(self, now: float) -> None:
        """As `StreamSession.connected`."""
        self.stands = True
        self._heard_at = now
        self._connection.initiate_connection()
        self._connection.increment_flow_control_window(min(self._most, MOST) * WINDOW - 65535)
        self.tell_waiting()

    def receive_untrusted(self, data: Buffer, now: float) -> None:
        """As `StreamSession.receive_untrusted`. Raises BadPacket."""
        self._heard_at = now
        self._is_asking = False
        try:
            for event in self._connection.receive_data(self._goaway.without_untrusted(bytes(data))):
                self._take(event)
        except (H2Error, ValueError) as error:  # the latter for what hpack cannot decode as text
            raise BadPacket(f"what answers is no HTTP/2 server: {error}") from error
        self._flush()
        self._forget_refused()

    def outgoing(self, now: float) -> bytes:  # noqa: ARG002
        """As `StreamSession.outgoing`."""
        if self.is_over or not self.stands:
            return b""
        if not self.is_blocked:
            self._flush()
        return self._connection.data_to_send()

    def next_timeout(self) -> float | None:
        """As `StreamSession.next_timeout`."""
        if not self.stands or self.is_over:
            return None
        if self._is_asking:
            return self._asked_at + PATIENCE
        return None if self._streams else self._heard_at + IDLE

    def handle_timeout(self, now: float) -> None:
        """As `StreamSession.handle_timeout`."""
        due = self.next_timeout()
        if due is None or now < due:
            return
        if self._is_asking:
            self.end(BadPacket("the server gives no sign of life"))
        else:
            self.is_over = True

    # For its streams.

    def has_said(self, stream: SharedStream) -> None:
        """It has bytes to send, or its end."""
        self._said[stream] = None
        self.wake()

    def taken(self, stream: SharedStream, size: int) -> None:
        """Its owner took bytes: the server may send as many."""
        if not self.is_over:
            self._connection.acknowledge_received_data(size, stream.number)
            self._forget(stream)
            self.wake()

    def leave(self, stream: SharedStream) -> None:
        """Its owner wants no more of it."""
        if stream.number in self._streams and not self.is_over:
            del self._streams[stream.number]
            if unread := stream.readable:
                self._connection.acknowledge_received_data(unread, stream.number)
            with suppress(H2Error):  # it had ended on both sides
                self._connection.reset_stream(stream.number, ErrorCodes.CANCEL)
            self.wake()

    # Events.

    def _take(self, event: Event) -> None:
        stream = self._streams.get(event.stream_id) if isinstance(event, _OF_STREAMS) else None
        match event:
            case DataReceived(data=data, flow_controlled_length=size, stream_id=number):
                padding = size - len(data)
                if stream is None:
                    self._connection.acknowledge_received_data(size, number)
                    return
                if padding:
                    self._connection.acknowledge_received_data(padding, number)
                if data:
                    stream.heard(data)
            case ResponseReceived(headers=headers) | TrailersReceived(headers=headers):
                if stream is not None and (refusal := self._judge(_texts(headers))) is not None:
                    stream.refuse(refusal)
            case StreamEnded():
                if stream is not None:
                    stream.ended = True
                    self._forget(stream)
            case StreamReset(error_code=code):
                if stream is not None:
                    stream.over(reset=code != ErrorCodes.NO_ERROR)
                    self._forget(stream)
            case WindowUpdated(stream_id=number):
                self._said.update((each, None) for each in self._streams.values() if number in {0, each.number})
            case RemoteSettingsChanged():  # RFC 9113 §6.9.2: every stream's window may be another one now
                self._said.update((each, None) for each in self._streams.values())
        if stream is not None:
            self._changed[stream] = None

    def _forget(self, stream: SharedStream) -> None:
        """Give its place to another, once both directions are over."""
        if stream.closed or (stream.ended and stream.said_end):
            self._streams.pop(stream.number, None)
            stream.closed = True

    def _forget_refused(self) -> None:
        """End the streams that a server which is leaving did not take."""
        last = self._goaway.last_stream
        for stream in [each for each in self._streams.values() if last is not None and each.number > last]:
            stream.over(reset=True)
            self._changed[stream] = None
            self._forget(stream)
        if self._goaway.is_leaving and not self._streams:
            self.is_over = True

    def _ask(self, now: float) -> None:
        self._is_asking = True
        self._asked_at = now
        self._connection.ping(b"tunflow?")

    def _flush(self) -> None:
        """Say what the streams have to say, as far as windows go; each in turn."""
        said, self._said = self._said, {}
        for stream in said:
            if stream.number in self._streams and not stream.said_end and self._send(stream):
                self._changed[stream] = None

    def _send(self, stream: SharedStream) -> bool:
        """Return True if it could send something."""
        connection, number = self._connection, stream.number
        before = stream.queued
        while stream.queue:
            room = min(connection.local_flow_control_window(number), connection.max_outbound_frame_size)
            if room <= 0:
                break
            frame = stream.next_bytes(room)
            connection.send_data(number, frame)
        if stream.finishing and not stream.queue:
            stream.said_end = True
            connection.end_stream(number)
            self._forget(stream)
        return stream.queued < before or stream.said_end


_OF_STREAMS = (DataReceived, ResponseReceived, TrailersReceived, StreamEnded, StreamReset)


def _texts(headers: Iterable[tuple[str | bytes, str | bytes]]) -> dict[str, str]:
    """Fields as text, which h2 gives by `header_encoding`."""
    return {str(name): str(value) for name, value in headers}
