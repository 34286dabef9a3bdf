"""Bytes in gRPC's messages, each with one or several fields of bytes ("gun": `Hunk` and `MultiHunk`).

Read first: gRPC over HTTP2 (grpc/grpc, doc/PROTOCOL-HTTP2.md, "Length-Prefixed-Message"); protobuf's encoding of a
field of bytes. A message: a byte (0: not compressed), its size in 4 bytes; inside 0x0A, a size as a varint, the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket

_LARGEST = 32 * 1024
"""Bytes of a message of ours."""
_LONGEST = 1024 * 1024
"""Bytes of a message of the server's; those of real ones have 8 to 64 KB."""
_FIELD = 0x0A
_PREFIX = 5


class GunCodec:
    """One stream's messages. As `StreamCodec`."""

    __slots__ = ()

    established = True
    transparent = False

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """As `StreamCodec.seal`."""
        wire: list[Buffer] = []
        data = memoryview(b"".join(pieces))
        for at in range(0, len(data), _LARGEST):
            piece = data[at : at + _LARGEST]
            field = bytes((_FIELD,)) + _varint(len(piece))
            wire += [b"\0" + (len(field) + len(piece)).to_bytes(4, "big") + field, piece]
        return wire

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """As `StreamCodec.open_untrusted`. Raises BadPacket."""
        pieces: list[Buffer] = []
        at = 0
        while len(data) - at >= _PREFIX:
            size = int.from_bytes(data[at + 1 : at + _PREFIX], "big")
            if data[at]:
                raise BadPacket("a gRPC message is compressed, which was not asked for")
            if size > _LONGEST:
                raise BadPacket(f"a gRPC message of {size} bytes is too long")
            end = at + _PREFIX + size
            if len(data) < end:
                break
            pieces += _fields_untrusted(data[at + _PREFIX : end])
            at = end
        return pieces, at

    def finish(self) -> list[Buffer]:
        """Nothing: the stream's end says it."""
        return []


def _fields_untrusted(message: memoryview) -> list[Buffer]:
    """The bytes of a message's fields. Raises BadPacket."""
    found: list[Buffer] = []
    at = 0
    while at < len(message):
        if message[at] != _FIELD:
            raise BadPacket(f"a gRPC message has a field {message[at]:#04x}, and only bytes are expected")
        at += 1
        size = shift = 0
        while True:
            if at >= len(message) or shift > 28:
                raise BadPacket("a gRPC message ends within a field")
            byte = message[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if len(message) - at < size:
            raise BadPacket("a gRPC message ends within a field")
        if size:
            found.append(bytes(message[at : at + size]))
        at += size
    return found


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
