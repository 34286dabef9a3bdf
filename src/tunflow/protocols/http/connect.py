"""HTTP CONNECT, the client's and the server's words.

Read first: RFC 9110 §9.3.6 (CONNECT), §15.5.8 (407); RFC 9112 §2 to §4 (the shape of messages); RFC 7617 (Basic).
Over TLS it is the same inside a `TLSClient`.

Rules: any 2xx opens the tunnel right behind the blank line, whatever Content-Length says (RFC 9110 §9.3.6); bytes
behind it are the flow's; 1xx answers are skipped; an answer without an end is cut off at `LONGEST_ANSWER`.
"""

from __future__ import annotations

import re
from base64 import b64encode

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket, LocalError
from tunflow.protocols.codec import ProxyRefused, Refusal
from tunflow.protocols.handshake import Handshake

_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})(?: ([^\r\n]*))?\r?")

_REFUSALS = {
    400: Refusal.UNSUPPORTED,
    401: Refusal.CREDENTIALS,
    403: Refusal.PROHIBITED,
    404: Refusal.HOST_UNREACHABLE,
    405: Refusal.UNSUPPORTED,
    407: Refusal.CREDENTIALS,
    408: Refusal.TIMED_OUT,
    451: Refusal.PROHIBITED,
    501: Refusal.UNSUPPORTED,
    504: Refusal.TIMED_OUT,
}
"""RFC 9110 §15. What proxies say of a target that refuses differs (500, 502, 503): `FAILED` resets the client's."""


def basic(user: str, password: str) -> str:
    """The value of Proxy-Authorization. Raises LocalError: RFC 7617 §2 allows no colon in a user name."""
    if ":" in user:
        raise LocalError("a user name for an HTTP proxy has no colon in it")
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def authority(target: Endpoint) -> str:
    """`host:port` as RFC 9112 §3.2.3 wants it; IPv6 in brackets."""
    return str(target)


def connect_request(target: Endpoint, authorization: str | None) -> bytes:
    """RFC 9110 §9.3.6."""
    where = authority(target)
    if not where.isprintable() or not where.isascii() or " " in where:
        raise ProxyRefused(Refusal.HOST_UNREACHABLE, "not a host name")
    extra = f"Proxy-Authorization: {authorization}\r\n" if authorization is not None else ""
    return f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n{extra}\r\n".encode()


class HTTPConnectClient(Handshake):
    """Asks an HTTP proxy for a connection to `target`; `authorization` is the value of Proxy-Authorization."""

    __slots__ = ("_has_authorization",)

    def __init__(self, target: Endpoint, authorization: str | None = None) -> None:
        self._has_authorization = authorization is not None
        super().__init__([connect_request(target, authorization)])

    def _hear_untrusted(self, data: memoryview) -> int:
        block = bytes(data)
        size = end_of_header(block)
        if not size:
            if len(block) >= 5 and not block.startswith(b"HTTP/"):
                raise BadPacket("what answers is not an HTTP proxy")
            return 0
        line = _STATUS_LINE.fullmatch(block.partition(b"\n")[0])
        if line is None:
            raise BadPacket("what answers is not an HTTP proxy")
        status = int(line[1])
        if 200 <= status < 300:
            self._stands()
        elif status >= 200:
            raise self._refused(status, line[2] or b"")
        return size

    def _refused(self, status: int, reason: bytes) -> ProxyRefused:
        words = "".join(chr(byte) if 0x20 <= byte < 0x7F else "?" for byte in reason[:80])
        if status == 407:
            words = "407: it " + ("refused them" if self._has_authorization else "wants a user name and password")
            return ProxyRefused(Refusal.CREDENTIALS, words)
        return ProxyRefused(_REFUSALS.get(status, Refusal.FAILED), f"{status} {words}".strip())


def end_of_header(block: bytes) -> int:
    """The size of the header block at the front with its blank line; 0 while it has no end.

    RFC 9112 §2.2: a recipient may take a bare LF for the end of a line.
    """
    found = re.search(rb"\r?\n\r?\n", block)
    return found.end() if found else 0
