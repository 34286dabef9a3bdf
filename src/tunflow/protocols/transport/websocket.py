"""What stands on an HTTP/1.1 upgrade: WebSocket, and bytes as they are behind the same request."""

from __future__ import annotations

from collections.abc import Sequence

from wsproto import ConnectionType
from wsproto.events import AcceptConnection, RejectConnection, Request

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.protocols.codec import ProxyRefused, Refusal
from tunflow.protocols.handshake import Handshake
from tunflow.protocols.http.connect import end_of_header
from tunflow.protocols.transport.websocket_messages import WebSocketMessages

_ANSWER = b"HTTP/1."


class WebSocketClient:
    """The client's end of a WebSocket. As `StreamCodec`."""

    __slots__ = ("_first", "_messages", "established")

    transparent = False

    def __init__(self, host: str, path: str) -> None:
        self._messages = WebSocketMessages(ConnectionType.CLIENT, "what answers is no WebSocket server")
        self._messages.tell(Request(host=host, target=path))
        self._first = b""
        """The first bytes of the answer, up to the size of `_ANSWER`."""
        self.established = False

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """As `StreamCodec.seal`."""
        return self._messages.seal(pieces)

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """As `StreamCodec.open_untrusted`. Raises BadPacket and ProxyRefused."""
        if len(self._first) < len(_ANSWER):
            self._first += bytes(data[: len(_ANSWER) - len(self._first)])
            if not _ANSWER.startswith(self._first):  # h11 would wait for the end of a header
                raise BadPacket("what answers is no WebSocket server")
        pieces, answers = self._messages.open_untrusted(data)
        for answer in answers:
            if isinstance(answer, AcceptConnection):
                self.established = True
            elif isinstance(answer, RejectConnection):
                raise _refused(answer.status_code)
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
