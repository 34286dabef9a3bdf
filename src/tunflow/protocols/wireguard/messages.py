"""The four messages and their fields (the paper, §5.4.2 to §5.4.7). All integers are little-endian."""

from __future__ import annotations

import struct
from typing import NamedTuple

from tunflow.errors import BadPacket

INITIATION = 1
RESPONSE = 2
COOKIE_REPLY = 3
TRANSPORT = 4

INITIATION_SIZE = 148
RESPONSE_SIZE = 92
COOKIE_REPLY_SIZE = 64
TRANSPORT_HEADER = 16
KEEPALIVE_SIZE = TRANSPORT_HEADER + 16
"""Bytes of a transport message around nothing."""
MACS_SIZE = 32
"""mac1 and mac2, the end of both handshake messages."""

KIND = struct.Struct("<I")
"""The first word: the kind in its lowest byte, and three bytes that are zero."""
SIZES = {INITIATION: INITIATION_SIZE, RESPONSE: RESPONSE_SIZE, COOKIE_REPLY: COOKIE_REPLY_SIZE}

_INITIATION = struct.Struct("<II32s48s28s")
_RESPONSE = struct.Struct("<III32s16s")
_COOKIE_REPLY = struct.Struct("<II24s32s")


class Initiation(NamedTuple):
    """The first message, without its macs."""

    sender: int
    ephemeral: bytes
    static: bytes
    """Sealed, as `timestamp` is."""
    timestamp: bytes

    def pack(self) -> bytes:
        """The message up to its macs."""
        return _INITIATION.pack(INITIATION, *self)

    @classmethod
    def unpack_untrusted(cls, data: bytes) -> Initiation:
        """The fields. Raises BadPacket."""
        _check_untrusted(data, INITIATION)
        return cls._make(_INITIATION.unpack_from(data)[1:])


class Response(NamedTuple):
    """The answer, without its macs."""

    sender: int
    receiver: int
    ephemeral: bytes
    nothing: bytes
    """An empty text, sealed."""

    def pack(self) -> bytes:
        """The message up to its macs."""
        return _RESPONSE.pack(RESPONSE, *self)

    @classmethod
    def unpack_untrusted(cls, data: bytes) -> Response:
        """The fields. Raises BadPacket."""
        _check_untrusted(data, RESPONSE)
        return cls._make(_RESPONSE.unpack_from(data)[1:])


class CookieReply(NamedTuple):
    """What a responder under load answers."""

    receiver: int
    nonce: bytes
    cookie: bytes
    """Sealed."""

    def pack(self) -> bytes:
        """The whole message."""
        return _COOKIE_REPLY.pack(COOKIE_REPLY, *self)

    @classmethod
    def unpack_untrusted(cls, data: bytes) -> CookieReply:
        """The fields. Raises BadPacket."""
        _check_untrusted(data, COOKIE_REPLY)
        return cls._make(_COOKIE_REPLY.unpack_from(data)[1:])


def _check_untrusted(data: bytes, kind: int) -> None:
    if len(data) != SIZES[kind] or KIND.unpack_from(data)[0] != kind:
        raise BadPacket(f"not a message of kind {kind}")
