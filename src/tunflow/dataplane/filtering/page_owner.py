"""The owner of a refused client's connection: waits for a request, and says what the filter has to say."""

from __future__ import annotations

from tunflow.conduit import ClientConduit
from tunflow.contained import Contained
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.filtering.session import FilterSession
from tunflow.filter.page import begins_to_ask

_TLS_HANDSHAKE = b"\x16"
PATIENCE = 60.0
"""Seconds for a provider to say what becomes of a user's wish; then the page is shown again."""


class PageOwner(Contained):
    """Takes a connection that is `accept`ed; whatever the client asks, the answer is the page or what a wish got."""

    def __init__(self, context: FlowContext, connection: ClientConduit, session: FilterSession) -> None:
        self._context = context
        self._connection = connection
        self._session = session
        self._has_asked = False
        self._has_answered = False
        connection.user = self

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"the page for {self._connection.client}"

    def cut(self) -> None:
        """As `Contained.cut`."""
        self._connection.cut()

    def rebind(self, stream: ClientConduit) -> None:
        """Go on with `stream`, which is the same flow."""
        self._connection = stream

    def service(self) -> None:
        """The client spoke, or is gone."""
        connection = self._connection
        if connection.closed or self._has_asked or not (connection.readable or connection.at_eof):
            return
        if not begins_to_ask(b"".join(connection.peek())) or connection.at_eof:  # else its first line goes on
            self.respond()

    def respond(self) -> None:
        """To what the client has said so far."""
        connection = self._connection
        request = b"".join(connection.peek())
        self._has_asked = True
        connection.take(connection.readable)  # else its end would be a reset, which takes the page with it
        if request.startswith(_TLS_HANDSHAKE):
            connection.abort()  # on a port where others speak HTTP
        elif not self._session.answer(request, self._say):
            self._context.reactor.call_later(PATIENCE, lambda: self._say(self._session.page or b""))

    def _say(self, answer: bytes) -> None:
        connection = self._connection
        if self._has_answered or connection.closed:
            return
        self._has_answered = True
        connection.take(connection.readable)
        now = self._context.reactor.now
        connection.close_write(now, [answer])
        connection.abandon(now)
