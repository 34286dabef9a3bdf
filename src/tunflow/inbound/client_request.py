"""What an old client says to a local port, whichever protocol it speaks: SOCKS5, SOCKS4, SOCKS4a or HTTP.

Read first: RFC 1928, RFC 1929, the SOCKS4 and 4a memos; RFC 9110 §9.3.6 (CONNECT), RFC 9112 §3.2 (forms of a request's
target). The first byte tells which: 5, 4, or a letter.

Rules: the client's header is bounded by `LONGEST_HEADER`; what stands behind it is the flow's; a request for another
site by its whole URI is passed on as that site wants it, one for each connection (`Connection: close`), so that the
next cannot go to the wrong one; a name stays a name.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Sequence
from enum import Enum
from urllib.parse import urlsplit

from tunflow.endpoint import Buffer, Endpoint, endpoint
from tunflow.errors import BadPacket
from tunflow.protocols import address
from tunflow.protocols.codec import Refusal
from tunflow.protocols.http.connect import end_of_header
from tunflow.protocols.socks import socks5
from tunflow.protocols.socks.client4 import GRANTED

LONGEST_HEADER = 64 * 1024
"""Bytes; browsers' cookies fill a good part of it."""

_REPLIES = {
    Refusal.PROHIBITED: 2,
    Refusal.NET_UNREACHABLE: 3,
    Refusal.HOST_UNREACHABLE: 4,
    Refusal.REFUSED: 5,
    Refusal.TIMED_OUT: 6,
    Refusal.UNSUPPORTED: 7,
}
"""RFC 1928 §6; anything else is 1."""

_STATUS = {
    Refusal.PROHIBITED: "403 Forbidden",
    Refusal.TIMED_OUT: "504 Gateway Timeout",
    Refusal.UNSUPPORTED: "501 Not Implemented",
}
_BAD_GATEWAY = "502 Bad Gateway"
_HOP_BY_HOP = {b"proxy-authorization", b"proxy-connection", b"connection", b"keep-alive", b"te", b"upgrade"}
"""RFC 9110 §7.6.1, and what old clients send to proxies."""
_REQUEST_LINE = re.compile(rb"([A-Z-]+) (\S+) HTTP/1\.[01]\r?")


class Wish(Enum):
    """What the client wants."""

    CONNECT = "connect"
    ASSOCIATE = "associate"
    PAGE = "page"
    """A page of ours; `path` says which."""


class Inbound:
    """One client's connection: a codec (`open_untrusted`, `seal`) that learns a `wish`.

    `say` has what to tell the client by now. `user` and `password` are what it must show, if given.
    """

    __slots__ = ("_credentials", "_head", "_is_http", "_phase", "_rest", "_version", "path", "say", "target", "wish")

    def __init__(self, credentials: tuple[str, str] | None = None) -> None:
        self._credentials = credentials
        self._phase = self._first_untrusted
        self._version = 0
        self._is_http = False
        self._head = b""
        self._rest = b""
        self.say: list[bytes] = []
        self.wish: Wish | None = None
        self.target: Endpoint | None = None
        self.path = ""

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """Take what the client sent, all of it; the flow's first bytes once the wish is known. Raises BadPacket."""
        if self.wish is not None:
            return [bytes(data)], len(data)
        self._head += data
        while self.wish is None:
            taken = self._phase(self._head)
            if not taken:
                if len(self._head) > LONGEST_HEADER:
                    raise BadPacket("a client's header has no end")
                return [], len(data)
            self._head = self._head[taken:]
        first, self._rest, self._head = self._rest + self._head, b"", b""
        return ([first] if first else []), len(data)

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """Flow bytes to the client: as they are."""
        return list(pieces)

    def accepted(self, bound: Endpoint = socks5.ANYWHERE) -> bytes:
        """What a client is told when its wish is fulfilled. A site's own answer speaks for itself."""
        if self._version == 5:
            return b"\x05\x00\x00" + address.encode(bound)
        if self._version == 4:
            return bytes((0, GRANTED)) + bytes(6)
        return b"HTTP/1.1 200 Connection established\r\n\r\n" if self._is_http and not self.path else b""

    def refused(self, refusal: Refusal, detail: str) -> bytes:
        """What a client is told when it is not; the connection ends behind it."""
        if self._version == 5:
            return bytes((5, _REPLIES.get(refusal, 1), 0)) + address.encode(socks5.ANYWHERE)
        if self._version == 4:
            return bytes((0, 0x5B)) + bytes(6)
        return page(_STATUS.get(refusal, _BAD_GATEWAY), f"{self.target}: {detail}\n") if self._is_http else b""

    established = True
    transparent = False

    def finish(self) -> list[Buffer]:
        """Nothing: the connection's end is the flow's."""
        return []

    # The phases: each takes a message from the front and returns its size, 0 if it is not whole.

    def _first_untrusted(self, head: bytes) -> int:
        if not head:
            return 0
        if head[0] == 5:
            self._version = 5
            return self._greeting_untrusted(head)
        if head[0] == 4:
            return self._request4_untrusted(head)
        if not 0x41 <= head[0] <= 0x5A:
            raise BadPacket("a client speaks neither SOCKS nor HTTP")
        self._is_http = True
        self._phase = self._http_untrusted
        return self._http_untrusted(head)

    def _greeting_untrusted(self, head: bytes) -> int:
        if len(head) < 2 or len(head) < 2 + head[1]:
            return 0
        wanted = socks5.NO_AUTHENTICATION if self._credentials is None else socks5.USERNAME_PASSWORD
        if wanted not in head[2 : 2 + head[1]]:
            self.say.append(bytes((5, socks5.NO_ACCEPTABLE_METHOD)))
            raise BadPacket("a client offers no way to sign in that is accepted here")
        self.say.append(bytes((5, wanted)))
        self._phase = self._request5_untrusted if self._credentials is None else self._sign_in_untrusted
        return 2 + head[1]

    def _sign_in_untrusted(self, head: bytes) -> int:
        """RFC 1929 §2."""
        if len(head) < 2 or len(head) < 3 + head[1] or len(head) < 3 + head[1] + head[2 + head[1]]:
            return 0
        user_end = 2 + head[1]
        end = user_end + 1 + head[user_end]
        if not self._knows(head[2:user_end], head[user_end + 1 : end]):
            self.say.append(b"\x01\x01")
            raise BadPacket("a client's user name or password is wrong")
        self.say.append(b"\x01\x00")
        self._phase = self._request5_untrusted
        return end

    def _request5_untrusted(self, head: bytes) -> int:
        if len(head) < 4:
            return 0
        if head[0] != 5:
            raise BadPacket("a client's SOCKS5 request has another version")
        parsed = address.parse_untrusted(memoryview(head)[3:])
        if parsed is None:
            return 0
        target, size = parsed
        wishes = {socks5.CONNECT: Wish.CONNECT, socks5.UDP_ASSOCIATE: Wish.ASSOCIATE}
        if head[1] not in wishes:
            self.say.append(self.refused(Refusal.UNSUPPORTED, ""))
            raise BadPacket(f"a client asks for the SOCKS5 command {head[1]}")
        self._wishes(wishes[head[1]], _as_address(target))
        return 3 + size

    def _request4_untrusted(self, head: bytes) -> int:
        user_end = head.find(b"\0", 8)
        if len(head) < 9 or user_end < 0:
            return 0
        self._version = 4
        end = user_end + 1
        host: bytes | str = head[4:8]
        if head[4:7] == bytes(3) and head[7]:
            end = head.find(b"\0", user_end + 1) + 1
            if not end:
                return 0
            host = _printable_untrusted(head[user_end + 1 : end - 1])
        if head[1] != 1 or self._credentials is not None:  # SOCKS4 has no password
            self.say.append(self.refused(Refusal.UNSUPPORTED, ""))
            raise BadPacket("a client's SOCKS4 request is none to connect, or lacks a password")
        self._wishes(Wish.CONNECT, _as_address(Endpoint(host, head[2] << 8 | head[3])))
        return end

    def _http_untrusted(self, head: bytes) -> int:
        size = end_of_header(head)
        if not size:
            return 0
        line, _, rest = head[:size].partition(b"\n")
        request = _REQUEST_LINE.fullmatch(line)
        if request is None:
            self.say.append(page("400 Bad Request", "not an HTTP request\n"))
            raise BadPacket("a client's HTTP request is none")
        headers = rest.splitlines()
        method, uri = request[1], _printable_untrusted(request[2])
        if uri.startswith("/"):
            self.path = uri
            self._wishes(Wish.PAGE, None)
            return size
        self._check_authorization(headers)
        if method == b"CONNECT":
            self._wishes(Wish.CONNECT, _authority_untrusted(uri, None))
        else:
            self._forward_untrusted(method, uri, headers)
        return size

    def _forward_untrusted(self, method: bytes, uri: str, headers: list[bytes]) -> None:
        """RFC 9112 §3.2.2: a whole URI; the site gets its path."""
        parts = urlsplit(uri) if uri.isascii() else None
        if parts is None or parts.scheme.lower() != "http" or not parts.netloc:
            self.say.append(page("400 Bad Request", "only http:// and CONNECT go through this port\n"))
            raise BadPacket("a client's request names no http:// site")
        site = parts.netloc.rpartition("@")[2]
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        kept = [header for header in headers if header and header.partition(b":")[0].strip().lower() not in _HOP_BY_HOP]
        line = b"%s %s HTTP/1.1" % (method, self.path.encode())
        self._rest = b"\r\n".join((line, *kept, b"Connection: close", b"", b""))
        self._wishes(Wish.CONNECT, _authority_untrusted(site, 80))

    def _check_authorization(self, headers: list[bytes]) -> None:
        if self._credentials is None:
            return
        for header in headers:
            name, _, value = header.partition(b":")
            scheme, _, code = value.strip().partition(b" ")
            if name.strip().lower() == b"proxy-authorization" and scheme.lower() == b"basic":
                try:
                    user, _, password = b64decode(code.strip()).partition(b":")
                except (Base64Error, ValueError):
                    continue
                if self._knows(user, password):
                    return
        extra = 'Proxy-Authenticate: Basic realm="tunflow"\r\n'
        self.say.append(page("407 Proxy Authentication Required", "a user name and password are needed\n", extra))
        raise BadPacket("a client shows no user name and password, or wrong ones")

    def _knows(self, user: bytes, password: bytes) -> bool:
        assert self._credentials is not None
        known_user, known_password = (text.encode() for text in self._credentials)
        # Both are compared, whatever the first says, so that the time tells nothing.
        return hmac.compare_digest(user, known_user) & hmac.compare_digest(password, known_password)

    def _wishes(self, wish: Wish, target: Endpoint | None) -> None:
        self.wish = wish
        self.target = target


def page(status: str, text: str, extra: str = "", kind: str = "text/plain") -> bytes:
    """A whole answer of ours, behind which the connection ends."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(text.encode())}\r\n{extra}"
    return f"{head}Connection: close\r\n\r\n{text}".encode()


def pac(where: str) -> str:
    """A proxy auto-configuration file that sends everything to `where` (HOST:PORT), local names aside."""
    return (
        "function FindProxyForURL(url, host) {\n"
        "  if (isPlainHostName(host) || host === 'localhost' || shExpMatch(host, '127.*') || host === '[::1]')"
        " return 'DIRECT';\n"
        f"  return 'SOCKS5 {where}; SOCKS {where}; PROXY {where}';\n"
        "}\n"
    )


def _authority_untrusted(text: str, port: int | None) -> Endpoint:
    """`HOST:PORT`; `port` stands for none. Raises BadPacket."""
    if text.startswith("["):
        host, _, port_text = text[1:].partition("]")
        port_text = port_text.removeprefix(":")
    else:
        host, _, port_text = text.partition(":")
    number = int(port_text) if re.fullmatch("[0-9]{1,5}", port_text) else port if not port_text else None
    if not host or len(host) > 255 or number is None or not 0 < number < 65536:
        raise BadPacket("a client's HTTP request names no host and port")
    return endpoint(host, number)


def _as_address(target: Endpoint) -> Endpoint:
    """Some clients send an address as text."""
    return endpoint(target.host, target.port) if isinstance(target.host, str) else target


def _printable_untrusted(raw: bytes) -> str:
    if not raw or any(not 0x21 <= byte <= 0x7E for byte in raw):
        raise BadPacket("a client's request has bytes that no name has")
    return raw.decode("ascii")
