"""A string behind the URL of every HTTP/1 request of a connection: NEFilterNewFlowVerdict.URLAppendStringVerdict.

A search engine is asked for its safe answers that way. The string goes behind the request's target (RFC 9112 §3.2), in
front of a fragment; CONNECT and `OPTIONS *` name no URL and stay as they are. Where requests end is found by
`sniff.http`, which refuses what two readers could understand differently.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket, LocalError
from tunflow.sniff.http import Ambiguous, HTTPRequests, SniffStep, may_be_request

_VISIBLE = re.compile("[!-~]+")


class URLAppender:
    """The client's half of one connection, from its first byte on."""

    __slots__ = ("_machine", "_places", "_taken", "_text")

    def __init__(self, text: str) -> None:
        """Raises LocalError for a string that no URL may hold."""
        if not _VISIBLE.fullmatch(text) or "#" in text:
            raise LocalError(f"a string to append to URLs is {text!r}: it takes visible ASCII without # and blanks")
        self._text = text.encode("ascii")
        self._machine = HTTPRequests()
        self._places: deque[int] = deque()
        """Where in the stream the string goes, in bytes from its start, in front of what was not taken yet."""
        self._taken = 0

    def look_untrusted(self, offset: int, data: bytes) -> SniffStep:
        """Find the requests in `data`, which is at `offset` of the stream.

        Raises BadPacket as `HTTPRequests`, and `Ambiguous` also for what only some servers take for a request.
        """
        try:
            step = self._machine.look_untrusted(data)
        except BadPacket as error:
            if may_be_request(data):
                raise Ambiguous(str(error)) from error
            raise
        for request, end in zip(step.requests, self._machine.target_ends, strict=True):
            if request.method != "CONNECT" and request.target.startswith("/"):
                self._places.append(offset + end)
        return step

    @property
    def is_cut(self) -> bool:
        """As `HTTPRequests.is_cut`."""
        return self._machine.is_cut

    def append(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """The next bytes of the stream, with the string where it belongs. They are not copied."""
        out: list[Buffer] = []
        for piece in pieces:
            rest = memoryview(piece)
            while self._places and self._places[0] < self._taken + len(rest):
                size = self._places.popleft() - self._taken
                out += (rest[:size], self._text)
                rest = rest[size:]
                self._taken += size
            self._taken += len(rest)
            out.append(rest)
        return out
