"""What stands on an HTTP/1.1 upgrade: WebSocket (RFC 6455, by wsproto), and bytes as they are behind the same request.

WebSocket has no way to end one direction alone, so `finish` says nothing and the connection's end says it. wsproto
draws its keys and masks itself: they hide nothing (RFC 6455 §10.3) and keep caches on the way from reading our bytes as
HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, RejectConnection, Request
from wsproto.utilities import ProtocolError

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.protocols.codec import ProxyRefused, Refusal
from tunflow.protocols.handshake import Handshake
from tunflow.protocols.http.connect import end_of_header


class WebSocketClient:
    """The client's end of a WebSocket, a binary message for what is sealed at once. As `StreamCodec`."""

    __slots__ = ("_connection", "_say", "established")

    transparent = False

    def __init__(self, host: str, path: str) -> None:
        self._connection = WSConnection(ConnectionType.CLIENT)
        self._say: list[Buffer] = [self._connection.send(Request(host=host, target=path))]
        self.established = False

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """As `StreamCodec.seal`."""
        say, self._say = self._say, []
        if data := b"".join(pieces):
            say.append(self._connection.send(BytesMessage(data)))
        return say

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """As `StreamCodec.open_untrusted`. Raises BadPacket and ProxyRefused."""
        pieces: list[Buffer] = []
        try:
            self._connection.receive_data(bytes(data))
            for event in self._connection.events():
                match event:
                    case AcceptConnection():
                        self.established = True
                    case RejectConnection(status_code=status):
                        raise _refused(status)
                    case BytesMessage(data=piece):
                        if piece:
                            pieces.append(bytes(piece))
                    case Ping():
                        self._say.append(self._connection.send(event.response()))
                    case CloseConnection():
                        break
        except (ProtocolError, UnicodeDecodeError) as error:  # the latter for field values that are no ASCII
            raise BadPacket(f"what answers is no WebSocket server: {error}") from error
        return pieces, len(data)

    def finish(self) -> list[Buffer]:
        """Nothing: a Close message would end the other direction too."""
        return []


class HTTPUpgradeClient(Handshake):
    """Asks for an upgrade as a WebSocket does, and then sends bytes as they are."""

    __slots__ = ()

    def __init__(self, host: str, path: str) -> None:
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        super().__init__([request.encode()])

    def _hear_untrusted(self, data: memoryview) -> int:
        block = bytes(data)
        size = end_of_header(block)
        if len(block) >= 12 and not block.startswith(b"HTTP/1.1 "):
            raise BadPacket("what answers is no HTTP server")
        if size:
            status = block[9:12]
            if status != b"101":
                raise _refused(int(status) if status.isdigit() else 0)
            self._stands()
        return size


def _refused(status: int) -> ProxyRefused:
    return ProxyRefused(Refusal.UNSUPPORTED, f"it answers {status} to the upgrade: check the path and the host")
