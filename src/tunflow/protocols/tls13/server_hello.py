"""What a server says first (RFC 8446 §4.1.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tunflow.errors import BadPacket

TLS13 = 0x0304
_MESSAGE = 2
_SUPPORTED_VERSIONS = 43
_FIXED = 4 + 2 + 32
"""Type, length, version and random: what stands in front of the session id."""


class ServerHello(NamedTuple):
    """The message, field by field."""

    version: int
    """The one that is spoken, which an extension may say."""
    random: bytes
    session_id: bytes
    suite: int
    extensions: Mapping[int, bytes]


def parse_server_hello_untrusted(message: bytes) -> ServerHello:
    """A whole handshake message, head included. Raises BadPacket."""
    if len(message) < _FIXED + 1 or message[0] != _MESSAGE:
        raise BadPacket("no ServerHello")
    at = _FIXED + 1 + message[_FIXED]
    session_id, suite = message[_FIXED + 1 : at], int.from_bytes(message[at : at + 2], "big")
    at += 3  # the compression is nothing
    if at > len(message):
        raise BadPacket("a ServerHello that ends within a field")
    extensions = parse_extensions_untrusted(message[at:]) if at < len(message) else {}
    version = extensions.get(_SUPPORTED_VERSIONS, message[4:6])
    return ServerHello(int.from_bytes(version, "big"), message[6:_FIXED], session_id, suite, extensions)


def parse_extensions_untrusted(data: bytes) -> dict[int, bytes]:
    """A block of extensions with its length, by their types (§4.2). Raises BadPacket."""
    found: dict[int, bytes] = {}
    end = 2 + int.from_bytes(data[:2], "big")
    if len(data) != end or end < 2:
        raise BadPacket("extensions that are not as long as they say")
    at = 2
    while at < end:
        kind, size = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 4], "big")
        at += 4 + size
        if at > end or kind in found:
            raise BadPacket("an extension that comes twice or ends within a field")
        found[kind] = data[at - size : at]
    return found
