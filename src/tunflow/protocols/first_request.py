"""A stream that begins with one request, which nobody answers, and is the flow's own bytes from there on."""

from __future__ import annotations

from collections.abc import Sequence

from tunflow.endpoint import Buffer


class FirstRequest:
    """The client's end. As `StreamCodec`."""

    __slots__ = ("_request",)

    established = True
    """The server is never asked."""

    def __init__(self, request: bytes) -> None:
        self._request = request

    @property
    def transparent(self) -> bool:
        """True if the request has gone out."""
        return not self._request

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """As `StreamCodec.seal`; the first call starts with the request."""
        request, self._request = self._request, b""
        return [request, *pieces] if request else list(pieces)

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """As `StreamCodec.open_untrusted`."""
        return ([bytes(data)] if data else []), len(data)

    def finish(self) -> list[Buffer]:
        """Nothing: the connection's end is the flow's."""
        return []
