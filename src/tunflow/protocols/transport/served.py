"""What a server of streams is made of: layers from the wire up, and the protocol's codec, which learns the target."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from wsproto import ConnectionType
from wsproto.events import AcceptConnection, RejectConnection, Request

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.codec import StreamCodec, StreamDatagramCodec
from tunflow.protocols.transport.websocket_messages import WebSocketMessages

_READ = 64 * 1024


class ServedStream(StreamCodec, Protocol):
    """A server's codec of one client's stream."""

    @property
    def target(self) -> Endpoint | None:
        """Where to, once the client's request is whole."""

    @property
    def frames(self) -> StreamDatagramCodec | None:
        """The frames of a stream that carries datagrams; None for one of bytes."""

    @property
    def is_per_target(self) -> bool:
        """True if those are to and from the target only."""


class TLSServer:
    """The server's end of one TLS connection. As `StreamCodec`."""

    __slots__ = ("_incoming", "_object", "_outgoing", "established")

    transparent = False

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.established = False

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """As `StreamCodec.seal`."""
        for piece in pieces:
            if len(piece):
                self._object.write(piece)
        wire = self._outgoing.read()
        return [wire] if wire else []

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """As `StreamCodec.open_untrusted`. Raises BadPacket; `seal` then has the alert for the client."""
        self._incoming.write(data)
        pieces: list[Buffer] = []
        try:
            if not self.established:
                self._object.do_handshake()
                self.established = True
            while piece := self._object.read(_READ):
                pieces.append(piece)
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        except ssl.SSLError as error:
            raise BadPacket(f"TLS of a client: {error.reason or error}") from error
        return pieces, len(data)

    def finish(self) -> list[Buffer]:
        """The close_notify alert (RFC 8446 §6.1)."""
        with suppress(ssl.SSLError):
            self._object.unwrap()
        return self.seal(())


class WebSocketServer:
    """The server's end of a WebSocket at `path`. As `StreamCodec`."""

    __slots__ = ("_messages", "_path", "established")

    transparent = False

    def __init__(self, path: str) -> None:
        self._messages = WebSocketMessages(ConnectionType.SERVER, "a client speaks no WebSocket")
        self._path = path
        self.established = False

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """As `StreamCodec.seal`."""
        return self._messages.seal(pieces)

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """As `StreamCodec.open_untrusted`. Raises BadPacket."""
        pieces, asked = self._messages.open_untrusted(data)
        for request in asked:
            if isinstance(request, Request):
                self._answer(request.target)
        return pieces, len(data)

    def finish(self) -> list[Buffer]:
        """Nothing: a Close message would end the other direction too."""
        return []

    def _answer(self, target: str) -> None:
        """Raises BadPacket, with the refusal to be said."""
        if target.partition("?")[0] != self._path:
            self._messages.tell(RejectConnection(status_code=404))
            raise BadPacket("a client asks for another path than the link's")
        self._messages.tell(AcceptConnection())
        self.established = True


class Requested(NamedTuple):
    """What a client's request says, and how many bytes it has."""

    size: int
    target: Endpoint
    frames: StreamDatagramCodec | None = None
    """As `ServedStream.frames`."""
    is_per_target: bool = False
    """As `ServedStream.is_per_target`."""


class RequestedStream:
    """A stream of which only the front is a protocol's: a request, and perhaps a greeting. As `ServedStream`.

    `parse_untrusted` takes the request, None while it is not whole; it raises BadPacket. `greeting` stands before the
    first bytes for the client.
    """

    __slots__ = ("_greeting", "_parse_untrusted", "frames", "is_per_target", "target")

    established = True
    transparent = False

    def __init__(self, parse_untrusted: Callable[[memoryview], Requested | None], greeting: bytes = b"") -> None:
        self._parse_untrusted = parse_untrusted
        self._greeting = greeting
        self.target: Endpoint | None = None
        self.frames: StreamDatagramCodec | None = None
        self.is_per_target = False

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """As `StreamCodec.seal`."""
        if not pieces:
            return []
        greeting, self._greeting = self._greeting, b""
        return [greeting, *pieces] if greeting else list(pieces)

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """As `StreamCodec.open_untrusted`; sets `target`. Raises BadPacket."""
        used = 0
        if self.target is None:
            requested = self._parse_untrusted(data)
            if requested is None:
                return [], 0
            used, self.target, self.frames, self.is_per_target = requested
        rest = data[used:]
        return ([bytes(rest)] if rest else []), len(data)

    def finish(self) -> list[Buffer]:
        """Nothing: the connection's end is the flow's."""
        return []
