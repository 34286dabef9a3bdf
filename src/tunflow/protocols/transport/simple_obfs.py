"""What obfs-local does to a stream: it begins like HTTP's upgrade to WebSocket, or like TLS with a session ticket.

Read first: simple-obfs (shadowsocks), its README; RFC 5246 §7.4.1 and RFC 5077 for the messages that are imitated. It
hides nothing from who looks closely, and is spoken because servers want it.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Callable, Sequence

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.protocols.codec import ProxyRefused, Refusal
from tunflow.protocols.http.connect import end_of_header

LONGEST_HEADER = 16 * 1024
_RECORD = 16 * 1024
"""Bytes in a TLS record at most (RFC 5246 §6.2.1)."""
_APPLICATION = b"\x17\x03\x03"
_FIRST_PIECE = 1024
"""Bytes that go in the greeting: a ticket is no longer."""
_GREETED = 96 + 6
"""Bytes of the server's greeting: a ServerHello, and a change of ciphers."""
_SUITES = bytes.fromhex(
    "c02cc030009fcca9cca8ccaac02bc02f009ec024c028006bc023c0270067c00ac0140039c009c0130033009d009c003d003c0035002f00ff"
)
_LAST_EXTENSIONS = bytes.fromhex(
    "000b000403010002"  # point formats
    "000a000a0008001d001700190018"  # groups
    "000d0020001e060106020603050105020503040104020403030103020303020102020203"  # signature algorithms
    "0016000000170000"  # encrypt-then-MAC, extended master secret
)

RandomBytes = Callable[[int], bytes]


class HTTPObfs:
    """Bytes behind an HTTP request and an answer, as they are. As `StreamCodec`."""

    __slots__ = ("_answered", "_path", "_random_bytes", "_request", "_where")

    established = True
    """The server answers with its first bytes only."""

    def __init__(self, where: str, path: str, random_bytes: RandomBytes) -> None:
        self._where = where
        self._path = path
        self._random_bytes = random_bytes
        self._request = True
        self._answered = False

    @property
    def transparent(self) -> bool:
        """True if both sides have said their piece."""
        return self._answered and not self._request

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """As `StreamCodec.seal`."""
        if not self._request:
            return list(pieces)
        self._request = False
        key = b64encode(self._random_bytes(16)).decode()
        request = (
            f"GET {self._path} HTTP/1.1\r\nHost: {self._where}\r\nUser-Agent: curl/7.88.1\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nContent-Length: {sum(map(len, pieces))}\r\n\r\n"
        )
        return [request.encode("ascii"), *pieces]

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """As `StreamCodec.open_untrusted`. Raises BadPacket and ProxyRefused."""
        if self._answered:
            return ([bytes(data)] if data else []), len(data)
        block = bytes(data)
        size = end_of_header(block)
        if len(block) >= 12 and not block.startswith(b"HTTP/1.1 "):
            raise BadPacket("what answers speaks no HTTP: is it obfs=http?")
        if not size:
            if len(block) > LONGEST_HEADER:
                raise BadPacket("the HTTP answer has no end")
            return [], 0
        if block[9:12] != b"101":
            raise ProxyRefused(Refusal.UNSUPPORTED, f"it answers {block[9:12].decode('ascii', 'replace')}: obfs-host?")
        self._answered = True
        return ([block[size:]] if len(block) > size else []), len(block)

    def finish(self) -> list[Buffer]:
        """Nothing: the connection's end is the flow's."""
        return []


class TLSObfs:
    """Bytes in what looks like TLS's records, the first of them in a greeting's ticket. As `StreamCodec`."""

    __slots__ = ("_greeted", "_host", "_random_bytes", "_said", "_unix_time")

    established = True
    transparent = False

    def __init__(self, host: str, random_bytes: RandomBytes, unix_time: Callable[[], float]) -> None:
        self._host = host.encode("ascii")
        self._random_bytes = random_bytes
        self._unix_time = unix_time
        self._said = self._greeted = False

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """As `StreamCodec.seal`."""
        data = memoryview(b"".join(pieces))
        wire: list[Buffer] = []
        if not self._said:
            self._said = True
            wire.append(self._greeting(bytes(data[:_FIRST_PIECE])))
            data = data[_FIRST_PIECE:]
        for at in range(0, len(data), _RECORD):
            piece = data[at : at + _RECORD]
            wire += [_APPLICATION + len(piece).to_bytes(2, "big"), piece]
        return wire

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """As `StreamCodec.open_untrusted`. Raises BadPacket."""
        pieces: list[Buffer] = []
        at = 0
        if not self._greeted:
            if len(data) and data[0] != 0x16:
                raise BadPacket("what answers speaks no TLS: is it obfs=tls?")
            if len(data) < _GREETED:
                return [], 0
            self._greeted = True
            at = _GREETED
        while len(data) >= at + 5:
            if data[at] not in {0x16, 0x17} or data[at + 1] != 3:
                raise BadPacket(f"a record of obfs=tls begins with {data[at]:#04x}")
            end = at + 5 + (data[at + 3] << 8 | data[at + 4])
            if len(data) < end:
                break
            if end > at + 5:
                pieces.append(bytes(data[at + 5 : end]))
            at = end
        return pieces, at

    def finish(self) -> list[Buffer]:
        """Nothing: the connection's end is the flow's."""
        return []

    def _greeting(self, ticket: bytes) -> bytes:
        name = self._host
        server_name = struct.pack(">HHHBH", 0, len(name) + 5, len(name) + 3, 0, len(name)) + name
        extensions = struct.pack(">HH", 0x23, len(ticket)) + ticket + server_name + _LAST_EXTENSIONS
        moment = (int(self._unix_time()) & 0xFFFFFFFF).to_bytes(4, "big")
        body = b"".join(
            (
                b"\x03\x03", moment, self._random_bytes(28), b"\x20", self._random_bytes(32),
                len(_SUITES).to_bytes(2, "big"), _SUITES, b"\x01\x00", len(extensions).to_bytes(2, "big"), extensions,
            )
        )  # fmt: skip
        hello = b"\x01" + len(body).to_bytes(3, "big") + body
        return b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello
