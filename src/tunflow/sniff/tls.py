"""The name in a TLS ClientHello, which stands in clear in front of an encrypted stream.

Rules:
- A ClientHello may be cut anywhere: over TCP segments, and over TLS records (RFC 8446 §5.1), as browsers with
  post-quantum keys do and as others do to hide the name. So it is put together first.
- Before it there may be alerts, which servers skip (RFC 5246 §7.2.2: a warning changes nothing), and the version that a
  record says counts for nothing to some of them (RFC 8446 §5.1: "MUST be ignored"); so neither hides a hello.
- A server of TLS 1.3 may ask for a second hello (HelloRetryRequest, RFC 8446 §4.1.4). It should say the same, and
  OpenSSL goes by the name in it, whatever the first one said.
- With Encrypted ClientHello the name that stands here is the provider's public one: that is the name to route by,
  since nobody on the way can know another.

Read first: RFC 8446 §4.1.2 and §5.1, RFC 6066 §3 (server_name), RFC 7301 (ALPN), RFC 9849 (ECH).
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from tunflow.errors import BadPacket

LARGEST = 16 * 1024
"""Bytes of a ClientHello; real ones have 200 to 2,500."""

_CHANGE_CIPHER_SPEC, _ALERT, _HANDSHAKE, _APPLICATION_DATA = 20, 21, 22, 23
RECORD_TYPES = frozenset({_CHANGE_CIPHER_SPEC, _ALERT, _HANDSHAKE})
"""The first bytes of streams that `parse_records_untrusted` may find to be TLS."""
_USUAL_MAJOR = 3
_LARGEST_MAJOR = 0x0F
"""Of a record's version: crypto/tls of Go takes no larger one for TLS, and others take 3 only."""
_LARGEST_ALERT = 2
_CLIENT_HELLO = 1
_RECORD_HEADER = 5
_LARGEST_RECORD = 1 << 14
_SERVER_NAME = 0
_ALPN = 16
_EARLY_DATA = 42
_SUPPORTED_VERSIONS = 43
_ENCRYPTED_CLIENT_HELLO = 0xFE0D
_HOST_NAME = 0
_EXTENSION = struct.Struct("!HH")
"""Its type, and the length of what follows (RFC 8446 §4.2)."""

_CUT = "a ClientHello that ends within a field"


MOST_EARLY_DATA = 64 * 1024
"""Bytes in front of a second hello, in records; servers take 16 KB and less (`SSL_CTX_set_recv_max_early_data`)."""

V2_LENGTH = 0x80
"""The least first byte of a hello in the form of SSL 2."""
_V2_START = re.compile(rb"(?:[\x80-\xff](?:.(?:\x01(?:\0(?:\x02.*)?|\x03(?:[\0-\x04].*)?)?)?)?)?", re.DOTALL)
_V2_FIELDS = struct.Struct("!HxHHHH")
"""Length, version, and the lengths of cipher suites, session id and challenge."""


class NotTLS(BadPacket):
    """No server takes the stream for TLS."""


class ClientHello(NamedTuple):
    """What a client says first."""

    server_name: str | None
    """As sent, in lower case; None when it names nobody."""
    protocols: tuple[bytes, ...]
    """What it would speak inside, as `h2`."""
    is_encrypted: bool
    """True if the real one is inside, encrypted (ECH)."""
    may_be_repeated: bool = False
    """True if a server may ask for another (RFC 8446 §4.2.1: TLS 1.3 is offered in an extension)."""
    has_early_data: bool = False
    """True if data may come before that other (RFC 8446 §4.2.10)."""


class StepBehindHello(NamedTuple):
    """What was found behind a hello."""

    passed: int
    """Bytes, also ones that have not come yet, that need not be looked at again."""
    is_over: bool = False
    """True if there can be no other hello any more."""
    hello: ClientHello | None = None
    """The other one."""


def parse_records_untrusted(stream: bytes) -> ClientHello | None:
    """The ClientHello at the start of a TCP stream; None while more bytes are needed.

    Raises NotTLS, and BadPacket for what a server may take for TLS and has no hello that can be read.
    """
    found = first_hello_untrusted(stream)
    return None if found is None else found[0]


def first_hello_untrusted(stream: bytes, at: int = 0) -> tuple[ClientHello, int] | None:
    """As `parse_records_untrusted`, of what begins at a place in the stream; and where its last record ends."""
    message = bytearray()
    beside = 0
    while True:
        header = stream[at : at + _RECORD_HEADER]
        length = _length_untrusted(header, bool(message))
        if length is None:
            return None
        at += _RECORD_HEADER
        if header[0] == _HANDSHAKE:
            message += stream[at : at + length]
            if message[:1] and message[0] != _CLIENT_HELLO and header[1] != _USUAL_MAJOR:
                raise NotTLS("not a TLS handshake")
            hello = parse_message_untrusted(bytes(message))
            if hello is not None:
                return hello, at + length
        else:
            beside += _RECORD_HEADER + length
            if beside > LARGEST:
                raise BadPacket("too much in front of a ClientHello")
        at += length
        if at > len(stream):
            return None


class BehindHello:
    """What a client's stream has behind its first hello, up to where there can be no second."""

    __slots__ = ("_early", "first")

    def __init__(self, first: ClientHello) -> None:
        self.first = first
        self._early = MOST_EARLY_DATA if first.has_early_data else 0

    def look_untrusted(self, data: bytes, at: int = 0) -> StepBehindHello:
        """What the records at `at` of what waits are. Raises BadPacket for a hello that cannot be read."""
        while at < len(data):
            kind = data[at]
            if kind not in RECORD_TYPES and (kind != _APPLICATION_DATA or self._early <= 0):
                return StepBehindHello(at, True)
            if at + _RECORD_HEADER >= len(data):
                break
            if kind == _HANDSHAKE:
                if data[at + _RECORD_HEADER] != _CLIENT_HELLO:
                    return StepBehindHello(at, True)
                found = first_hello_untrusted(data, at)
                return StepBehindHello(at) if found is None else StepBehindHello(at, True, found[0])
            size = _RECORD_HEADER + int.from_bytes(data[at + 3 : at + 5], "big")
            if kind == _APPLICATION_DATA:
                self._early -= size
            at += size
        return StepBehindHello(at)


def is_v2_hello_untrusted(stream: bytes) -> bool | None:
    """Return True if a TCP stream begins with a hello in the form of SSL 2, in which no name can be; None while more
    bytes are needed.

    There are servers that answer it with TLS (RFC 5246 appendix E.2).
    """
    if _V2_START.fullmatch(stream) is None:
        return False
    if len(stream) < _V2_FIELDS.size:
        return None
    size, _, suites, session, challenge = _V2_FIELDS.unpack_from(stream)
    size &= 0x7FFF
    is_whole = size == _V2_FIELDS.size - 2 + suites + session + challenge
    return is_whole and suites > 0 and suites % 3 == 0 and session in (0, 16) and 16 <= challenge <= 32


def _length_untrusted(header: bytes, begun: bool) -> int | None:
    """Bytes of a record, by its header; None while that is not whole. `begun`: whether a hello has."""
    wrong = BadPacket if begun else NotTLS
    if (header[:1] and header[0] not in RECORD_TYPES) or (header[1:2] and header[1] > _LARGEST_MAJOR):
        raise wrong("not a TLS handshake")
    if len(header) < _RECORD_HEADER:
        return None
    length = int.from_bytes(header[3:5], "big")
    if header[0] != _HANDSHAKE:  # these have their fixed lengths while nothing is encrypted; OpenSSL skips empty ones
        if not 0 <= length <= (_LARGEST_ALERT if header[0] == _ALERT else 1):
            raise wrong("not a TLS alert")
    elif not 0 < length <= _LARGEST_RECORD:
        raise (BadPacket if begun or header[1] == _USUAL_MAJOR else NotTLS)("a TLS record of an impossible length")
    return length


def parse_message_untrusted(message: bytes) -> ClientHello | None:
    """The ClientHello at the start of handshake messages; None while more bytes are needed. Raises BadPacket."""
    if message[:1] and message[0] != _CLIENT_HELLO:
        raise BadPacket("not a ClientHello")
    if len(message) < 4:
        return None
    size = int.from_bytes(message[1:4], "big")
    if size > LARGEST:
        raise BadPacket("a ClientHello that is too long")
    if len(message) < 4 + size:
        return None
    end = 4 + size
    at = 4 + 2 + 32  # behind version and random
    for width in (1, 2, 1):  # session id, cipher suites, compression methods
        at = _end_of_vector_untrusted(message, at, end, width)
    if at == end:
        return ClientHello(None, (), False)  # RFC 5246 §7.4.1.2: extensions may be missing
    return _extensions_untrusted(message, at + 2, _end_of_vector_untrusted(message, at, end, 2))


def _end_of_vector_untrusted(message: bytes, at: int, end: int, width: int) -> int:
    """Where a field ends that begins with its length, in a part that lasts until `end`."""
    behind = at + width
    if behind <= end:
        behind += int.from_bytes(message[at:behind], "big")
    if behind > end:
        raise BadPacket(_CUT)
    return behind


def _extensions_untrusted(message: bytes, at: int, end: int) -> ClientHello:
    """What the extensions say. There are a dozen of them in each hello, and a few matter."""
    name: str | None = None
    protocols: tuple[bytes, ...] = ()
    encrypted = named = repeated = early = False
    while at < end:
        start = at + _EXTENSION.size
        if start > end:
            raise BadPacket(_CUT)
        kind, size = _EXTENSION.unpack_from(message, at)
        at = start + size
        if at > end:
            raise BadPacket(_CUT)
        if kind == _SERVER_NAME:
            if named:
                raise BadPacket("a ClientHello with two names")  # RFC 8446 §4.2: one extension of a type
            named = True
            name = _server_name_untrusted(_Reader(message[start:at]))
        elif kind == _ALPN:
            protocols = _protocols_untrusted(_Reader(message[start:at]))
        elif kind == _ENCRYPTED_CLIENT_HELLO:
            encrypted = True
        elif kind == _SUPPORTED_VERSIONS:
            repeated = True
        elif kind == _EARLY_DATA:
            early = True
    return ClientHello(name, protocols, encrypted, repeated, early)


def _server_name_untrusted(reader: _Reader) -> str | None:
    names = _Reader(reader.vector_untrusted(2))
    while names.left:
        kind = names.number_untrusted(1)
        name = names.vector_untrusted(2)
        if kind == _HOST_NAME:
            return host_name_untrusted(name)
    return None


def _protocols_untrusted(reader: _Reader) -> tuple[bytes, ...]:
    names = _Reader(reader.vector_untrusted(2))
    found = []
    while names.left:
        found.append(names.vector_untrusted(1))
    return tuple(found)


def host_name_untrusted(raw: bytes) -> str:
    """A name as it may stand in a ClientHello or a Host header, in lower case. Raises BadPacket.

    Strict, for it goes into rules, requests to proxies and logs: letters, digits, `-`, `_` and dots.
    """
    try:
        name = raw.decode("ascii").rstrip(".").lower()
    except UnicodeDecodeError as error:
        raise BadPacket("a name that is not ASCII") from error
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise BadPacket("not a host name")
    return name


_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")


class _Reader:
    """Takes fields off the front of a message."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes not taken yet."""
        return len(self._data) - self._at

    def take_untrusted(self, size: int) -> bytes:
        """The next `size` bytes. Raises BadPacket."""
        if size > self.left:
            raise BadPacket(_CUT)
        self._at += size
        return self._data[self._at - size : self._at]

    def number_untrusted(self, width: int) -> int:
        """The next number. Raises BadPacket."""
        return int.from_bytes(self.take_untrusted(width), "big")

    def vector_untrusted(self, width: int) -> bytes:
        """The next field with its length in front. Raises BadPacket."""
        return self.take_untrusted(self.number_untrusted(width))
