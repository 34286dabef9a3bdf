"""A resolver that is asked through whatever server is chosen now.

Why: connections to resolvers are kept, and where queries never cease, one through a server that nobody wants any more
would stay for ever.
"""

from __future__ import annotations

from collections.abc import Callable

from tunflow.names.exchange import Cancel, Ended, Heard, Upstreams
from tunflow.protocols.contract import Outbound


class FollowingResolver:
    """A resolver that is asked through what the dialer is by now: connections through another server are left."""

    def __init__(self, resolver: Upstreams, dialer: Callable[[], Outbound]) -> None:
        self.label = resolver.label
        self._resolver = resolver
        self._dialer = dialer
        self._way: Outbound | None = None

    def ask(self, query: bytes, heard: Heard, ended: Ended) -> Cancel:
        """As `Upstreams.ask`."""
        way, before = self._dialer(), self._way
        self._way = way
        if before is not None and before is not way:
            self._resolver.reconnect()
        return self._resolver.ask(query, heard, ended)

    def reconnect(self) -> None:
        """As `Upstreams.reconnect`."""
        self._resolver.reconnect()

    def close(self) -> None:
        """Give everything back."""
        self._resolver.close()
