"""The server's end of a Trojan stream."""

from __future__ import annotations

from collections.abc import Collection

from tunflow.errors import BadPacket
from tunflow.protocols import address
from tunflow.protocols.transport.served import Requested, RequestedStream
from tunflow.protocols.trojan.stream import ASSOCIATE, CONNECT, END, KEY, TrojanFrames


def trojan_served(keys: Collection[bytes]) -> RequestedStream:
    """Return one flow of a client who shows one of `keys` (`stream.key_of`)."""
    return RequestedStream(lambda data: _request_untrusted(data, keys))


def _request_untrusted(data: memoryview, keys: Collection[bytes]) -> Requested | None:
    """Raises BadPacket."""
    if len(data) >= KEY and bytes(data[:KEY]) not in keys:
        raise BadPacket("a client shows no password that is known")
    start = KEY + 2 + 1
    if len(data) < start:
        return None
    command = data[start - 1]
    parsed = address.parse_untrusted(data[start : start + address.MAX_SIZE])
    if parsed is None or len(data) < start + parsed[1] + 2:
        return None
    target, size = parsed
    end = start + size
    if command not in {CONNECT, ASSOCIATE} or data[KEY : KEY + 2] != END or data[end : end + 2] != END:
        raise BadPacket("a client's Trojan request is none")
    return Requested(end + 2, target, TrojanFrames() if command == ASSOCIATE else None)
