"""The client's end of a Trojan stream.

Read first: the Trojan protocol (trojan-gfw.github.io). A line with the password's SHA-224, a line with the command and
the target in SOCKS5's form, then the flow. The server never answers: to who has no password it is a web site.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha224

from tunflow.endpoint import Buffer, Endpoint
from tunflow.protocols import address

CONNECT = 1


class TrojanClient:
    """One flow to `target`. As `StreamCodec`."""

    __slots__ = ("_request",)

    established = True
    """The server is never asked."""

    def __init__(self, target: Endpoint, password: str) -> None:
        key = sha224(password.encode()).hexdigest().encode()
        self._request = b"".join((key, b"\r\n", bytes((CONNECT,)), address.encode(target), b"\r\n"))

    @property
    def transparent(self) -> bool:
        """Whether the request has gone out."""
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
