"""What the connections to one server keep of TLS, so that the next ones need no certificate (RFC 8446 §2.2).

A ticket is offered for `LIFETIME` seconds behind the handshake in which the certificate was judged, and never one of a
resumed connection: so a certificate is judged again that often, and who watches two networks can join them by the
ticket no longer than that. TLS 1.2 is not resumed, whose connections would share their keys' secret.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

LIFETIME = 600.0
_PAUSE = 1.0
"""Seconds between two looks for a ticket: a look costs as much as a ticket saves."""


class Resumption:
    """The ticket of one server, for connections of one `SSLContext` that ask for one name."""

    def __init__(self, unix_time: Callable[[], float]) -> None:
        self._unix_time = unix_time
        self._session: ssl.SSLSession | None = None
        self._since = self._looked_at = float("-inf")

    @property
    def session(self) -> ssl.SSLSession | None:
        """What the next connection offers."""
        if self._session is not None and not 0 <= self._unix_time() - self._since < LIFETIME:
            self._session = None
        return self._session

    def look(self, connection: ssl.SSLObject) -> None:
        """Keep what the server has given a connection whose certificate was judged, if a ticket is wanted."""
        now = self._unix_time()
        if self._session is not None or 0 <= now - self._looked_at < _PAUSE or connection.version() != "TLSv1.3":
            return
        self._looked_at = now
        session = connection.session
        if session is not None and session.has_ticket:
            self._session, self._since = session, now

    def drop(self) -> None:
        """The server does not take it."""
        self._session = None
        self._looked_at = float("-inf")
