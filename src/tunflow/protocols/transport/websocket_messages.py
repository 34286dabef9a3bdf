"""The messages of one WebSocket (RFC 6455, by wsproto), whichever end of it.

WebSocket has no way to end one direction alone: a Close message would end the other too, so there is none, and the
connection's end says it. wsproto draws its keys and masks itself: they hide nothing (RFC 6455 §10.3) and keep caches on
the way from reading our bytes as HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence

from wsproto import ConnectionType, WSConnection
from wsproto.events import BytesMessage, CloseConnection, Event, Ping
from wsproto.utilities import ProtocolError

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket


class WebSocketMessages:
    """One end. `not_one` says in errors what the other end is, that speaks no WebSocket."""

    __slots__ = ("_connection", "_not_one", "_say")

    def __init__(self, end: ConnectionType, not_one: str) -> None:
        self._connection = WSConnection(end)
        self._not_one = not_one
        self._say: list[Buffer] = []

    def tell(self, event: Event) -> None:
        """Have something said that is no message, with the next `seal`."""
        self._say.append(self._connection.send(event))

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """As `StreamCodec.seal`: a binary message for what is sealed at once."""
        say, self._say = self._say, []
        if data := b"".join(pieces):
            say.append(self._connection.send(BytesMessage(data)))
        return say

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], list[Event]]:
        """Return what messages brought, and what else happened: how the WebSocket was opened. Raises BadPacket."""
        pieces: list[Buffer] = []
        others: list[Event] = []
        try:
            self._connection.receive_data(bytes(data))
            for event in self._connection.events():
                match event:
                    case BytesMessage(data=piece):
                        if piece:
                            pieces.append(bytes(piece))
                    case Ping():
                        self.tell(event.response())
                    case CloseConnection():
                        break
                    case _:
                        others.append(event)
        except (ProtocolError, UnicodeDecodeError) as error:  # the latter for field values that are no ASCII
            raise BadPacket(f"{self._not_one}: {error}") from error
        return pieces, others
