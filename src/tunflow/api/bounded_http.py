"""HTTP of uvicorn for so many connections at most, each of which asks for something soon.

uvicorn counts requests. A connection that says nothing holds a descriptor of the process that carries the tunnel, so
strangers could leave none for its flows.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS = 512
"""At a time; whoever comes then is cut."""

SILENCE = 10.0
"""Seconds until a whole request must be there."""


class BoundedHTTP(H11Protocol):
    """As uvicorn has it, within these bounds."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As `asyncio.Protocol` has it."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
        else:
            self.loop.call_later(SILENCE, self._cut_the_silent)

    def _cut_the_silent(self) -> None:
        if self.cycle is None and self.transport.get_protocol() is self:  # a WebSocket has another
            self.transport.abort()
