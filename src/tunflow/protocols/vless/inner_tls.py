"""What a flow carries: TLS or not, which version of it, and where its records of application data end.

Nothing of the flow is changed or kept, but for the start of a ServerHello until it is whole. As Xray-core has it
(proxy/proxy.go), TLS may begin in any of the first packets, so that a STARTTLS is seen.
"""

from __future__ import annotations

from enum import Enum

from tunflow.errors import BadPacket
from tunflow.protocols.tls13.server_hello import TLS13, parse_server_hello_untrusted

PACKETS = 7
"""Of both directions together: what is no TLS by then is taken for something else."""

_ALERT_TO_HEARTBEAT = range(20, 25)
_APPLICATION_DATA = 23
_HANDSHAKE = 22
_CLIENT_HELLO, _SERVER_HELLO = 1, 2
_HEADER = 5
_LARGEST = (1 << 14) + 2048
"""Bytes of a record (RFC 5246 §6.2.3)."""
_CCM_8 = 0x1305
_SUITES = range(0x1301, 0x1305)
"""Of TLS 1.3, but for that of short tags."""


class Inside(Enum):
    """What a flow carries."""

    UNKNOWN = "not known yet"
    NO_TLS = "no TLS"
    HELLO = "TLS that a client has asked for"
    OLDER_TLS = "TLS that shows what it is about"
    TLS13 = "TLS 1.3, whose records are all of one kind"


class InnerTLS:
    """Is shown all bytes of a flow in the order in which they pass, until the padding ends."""

    __slots__ = ("_answer", "_packets", "_records", "_start", "what")

    def __init__(self) -> None:
        self.what = Inside.UNKNOWN
        self._packets = 0
        self._start = b""
        """The first bytes of what may be a ClientHello."""
        self._records = _Records()
        self._answer = b""
        """The start of what may be a ServerHello."""

    @property
    def is_tls(self) -> bool:
        """True if a ClientHello was seen."""
        return self.what not in {Inside.UNKNOWN, Inside.NO_TLS}

    def show_up(self, data: bytes) -> int:
        """The client's bytes; how many of them, from the front, the padding may end behind: 0 if it has to go on.

        That is behind a record of application data that is whole, after the server's answer. With TLS 1.3 it is not the
        first one, which is the end of the handshake.
        """
        self._count()
        if self.what is Inside.UNKNOWN:
            self._start = self._start[:_HEADER] + data[: _HEADER + 1]
            if not _may_be_hello(self._start, _CLIENT_HELLO):
                self._start, self._records = b"", _Records()
                return 0
            if len(self._start) > _HEADER:
                self.what = Inside.HELLO
        try:
            whole = self._records.pass_untrusted(data)
        except BadPacket:
            self.what = Inside.NO_TLS
        if self.what is Inside.TLS13:
            return whole if self._records.count > 1 else 0
        return whole if self.what is Inside.OLDER_TLS else 0

    def show_down(self, data: bytes) -> None:
        """The server's bytes."""
        self._count()
        if self.what is not Inside.HELLO:
            return
        self._answer += data
        if not _may_be_hello(self._answer, _SERVER_HELLO):
            self._answer = b""
            return
        size = int.from_bytes(self._answer[3:_HEADER], "big")
        if len(self._answer) < _HEADER + size or len(self._answer) <= _HEADER:
            return
        message, self._answer = self._answer[_HEADER : _HEADER + size], b""
        try:
            hello = parse_server_hello_untrusted(message[: 4 + int.from_bytes(message[1:4], "big")])
        except BadPacket:
            self.what = Inside.OLDER_TLS
            return
        self.what = Inside.TLS13 if hello.version == TLS13 and hello.suite in _SUITES else Inside.OLDER_TLS

    def _count(self) -> None:
        """One more packet: no TLS begins late."""
        self._packets += 1
        if self._packets > PACKETS and self.what in {Inside.UNKNOWN, Inside.HELLO}:
            self.what = Inside.NO_TLS


class _Records:
    """The way through a stream of records."""

    __slots__ = ("_header", "_left", "count")

    def __init__(self) -> None:
        self._header = b""
        self._left = 0
        self.count = 0
        """Of those of application data that are whole."""

    def pass_untrusted(self, data: bytes) -> int:
        """Go on behind `data`; where its last record of application data ends, or 0. Raises BadPacket."""
        at = whole = 0
        while at < len(data):
            if not self._left:
                taken = data[at : at + _HEADER - len(self._header)]
                self._header += taken
                at += len(taken)
                if self._header[0] not in _ALERT_TO_HEARTBEAT:
                    raise BadPacket("no record of TLS")
                if len(self._header) < _HEADER:
                    break
                self._left = int.from_bytes(self._header[3:], "big")
                if self._left > _LARGEST or self._header[1] != 3:
                    raise BadPacket("no record of TLS")
            taken_now = min(self._left, len(data) - at)
            self._left -= taken_now
            at += taken_now
            if not self._left:
                if self._header[0] == _APPLICATION_DATA:
                    whole = at
                    self.count += 1
                self._header = b""
        return whole


def _may_be_hello(start: bytes, kind: int) -> bool:
    """Return True if a record of a handshake with a message of `kind` may begin so, or does."""
    return (
        start[:1] in {b"", bytes((_HANDSHAKE,))} and start[1:2] in {b"", b"\3"} and start[5:6] in {b"", bytes((kind,))}
    )
