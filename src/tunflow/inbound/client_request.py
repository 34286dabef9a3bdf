"""What an old client says to a local port, whichever protocol it speaks: SOCKS5, SOCKS4, SOCKS4a or HTTP.

Read first: RFC 1928, RFC 1929, the SOCKS4 and 4a memos; RFC 9110 §9.3.6 (CONNECT), RFC 9112 §3.2 (forms of a request's
target). The first byte tells which: 5, 4, or a letter (behind an empty line, too).

Rules: the client's header is bounded by `LONGEST_HEADER`; what stands behind it is the flow's; HTTP requests other than
CONNECT are not taken apart here (`http.forwarder` does that, one by one); a name stays a name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum

from tunflow.endpoint import Buffer, Endpoint, endpoint
from tunflow.errors import BadPacket
from tunflow.protocols import address
from tunflow.protocols.codec import Refusal
from tunflow.protocols.http.answers import CONNECTED, page, refusal_page, sign_in_page
from tunflow.protocols.http.connect import end_of_header
from tunflow.protocols.http.sign_in import Known, is_known, is_known_basic
from tunflow.protocols.http.target import LONGEST_HEADER, authority_untrusted
from tunflow.protocols.socks import socks5
from tunflow.protocols.socks.client4 import GRANTED

_REPLIES = {
    Refusal.PROHIBITED: 2,
    Refusal.NET_UNREACHABLE: 3,
    Refusal.HOST_UNREACHABLE: 4,
    Refusal.REFUSED: 5,
    Refusal.TIMED_OUT: 6,
    Refusal.UNSUPPORTED: 7,
}
"""RFC 1928 §6; anything else is 1."""

_ADDRESS_TYPE_NOT_SUPPORTED = bytes((5, 8, 0)) + address.encode(socks5.ANYWHERE)

_REQUEST_LINE = re.compile(rb"([!-~]+) ([!-~]+) HTTP/[0-9]\.[0-9]\r?")


class Wish(Enum):
    """What the client wants."""

    CONNECT = "connect"
    ASSOCIATE = "associate"
    FORWARD = "forward"
    """That its HTTP requests are forwarded one by one: what it said so far is for an `http.forwarder.Forwarder`."""


class Inbound:
    """One client's connection: a codec (`open_untrusted`, `seal`) that learns a `wish`.

    `say` has what to tell the client by now. `user` and `password` are what it must show, if given.
    """

    __slots__ = ("_credentials", "_head", "_is_http", "_phase", "_version", "say", "target", "wish")

    def __init__(self, credentials: Known | None = None) -> None:
        self._credentials = credentials
        self._phase = self._first_untrusted
        self._version = 0
        self._is_http = False
        self._head = b""
        self.say: list[bytes] = []
        self.wish: Wish | None = None
        self.target: Endpoint | None = None

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """Take what the client sent, all of it; the flow's first bytes once the wish is known. Raises BadPacket."""
        if self.wish is not None:
            return [bytes(data)], len(data)
        self._head += data
        while self.wish is None:
            taken = self._phase(self._head)
            if not taken and self.wish is None:
                if len(self._head) > LONGEST_HEADER:
                    raise BadPacket("a client's header has no end")
                return [], len(data)
            self._head = self._head[taken:]
        first, self._head = self._head, b""
        return ([first] if first else []), len(data)

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """Flow bytes to the client: as they are."""
        return list(pieces)

    def accepted(self, bound: Endpoint = socks5.ANYWHERE) -> bytes:
        """What a client is told when its wish is fulfilled."""
        if self._version == 5:
            return b"\x05\x00\x00" + address.encode(bound)
        if self._version == 4:
            return bytes((0, GRANTED)) + bytes(6)
        return CONNECTED if self._is_http else b""

    def refused(self, refusal: Refusal, detail: str) -> bytes:
        """What a client is told when it is not; the connection ends behind it."""
        if self._version == 5:
            return bytes((5, _REPLIES.get(refusal, 1), 0)) + address.encode(socks5.ANYWHERE)
        if self._version == 4:
            return bytes((0, 0x5B)) + bytes(6)
        return refusal_page(refusal, self.target, detail) if self._is_http else b""

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
        if empty := len(head) - len(head.lstrip(b"\r\n")):
            return empty  # RFC 9112 §2.2: an empty line before the request is passed over
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
        assert self._credentials is not None
        if not is_known(self._credentials, head[2:user_end], head[user_end + 1 : end]):
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
        try:
            parsed = address.parse_untrusted(memoryview(head)[3:])
        except BadPacket:
            known = head[3] in (address.IPV4, address.NAME, address.IPV6)
            self.say.append(self.refused(Refusal.FAILED, "") if known else _ADDRESS_TYPE_NOT_SUPPORTED)
            raise
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
            host = head[user_end + 1 : end - 1].decode("ascii", "replace")
            if not _is_name(host):
                self.say.append(self.refused(Refusal.FAILED, ""))
                raise BadPacket("a client's request has bytes that no name has")
        if head[1] != 1 or self._credentials is not None:  # SOCKS4 has no password
            self.say.append(self.refused(Refusal.UNSUPPORTED, ""))
            raise BadPacket("a client's SOCKS4 request is none to connect, or lacks a password")
        self._wishes(Wish.CONNECT, _as_address(Endpoint(host, head[2] << 8 | head[3])))
        return end

    def _http_untrusted(self, head: bytes) -> int:
        line, end, rest = head.partition(b"\n")
        if not end:
            return 0
        request = _REQUEST_LINE.fullmatch(line)
        if request is None:
            self.say.append(page("400 Bad Request", "not an HTTP request\n"))
            raise BadPacket("a client's HTTP request is none")
        if request[1] != b"CONNECT":
            self._wishes(Wish.FORWARD, None)
            return 0
        size = end_of_header(head)
        if not size:
            return 0
        rest = rest[: size - len(line) - 1]
        self._check_authorization(rest.splitlines())
        try:
            target = authority_untrusted(request[2].decode("ascii"), None)
        except BadPacket as error:
            self.say.append(page("400 Bad Request", f"{error}\n"))
            raise
        self._wishes(Wish.CONNECT, target)
        return size

    def _check_authorization(self, headers: list[bytes]) -> None:
        if self._credentials is None:
            return
        for header in headers:
            name, _, value = header.partition(b":")
            if name.strip().lower() == b"proxy-authorization" and is_known_basic(self._credentials, value):
                return
        self.say.append(sign_in_page())
        raise BadPacket("a client shows no user name and password, or wrong ones")

    def _wishes(self, wish: Wish, target: Endpoint | None) -> None:
        self.wish = wish
        self.target = target


def _as_address(target: Endpoint) -> Endpoint:
    """Some clients send an address as text."""
    return endpoint(target.host, target.port) if isinstance(target.host, str) else target


def _is_name(host: str) -> bool:
    return bool(host) and all("!" <= character <= "~" for character in host)
