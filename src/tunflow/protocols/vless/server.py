"""The server's end of a VLESS stream."""

from __future__ import annotations

from collections.abc import Collection

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols import xudp
from tunflow.protocols.transport.served import Requested, RequestedStream
from tunflow.protocols.vless.stream import CONNECT, DATAGRAMS, VERSION, VLESSFrames
from tunflow.protocols.xudp import XUDPFrames, parse_port_and_address_untrusted

_NOWHERE = Endpoint(bytes(4), 0)
"""The target of a stream whose frames name theirs."""


def vless_served(users: Collection[bytes]) -> RequestedStream:
    """Return one flow of one of `users` (ids of 16 bytes)."""
    return RequestedStream(lambda data: _request_untrusted(data, users), greeting=bytes((VERSION, 0)))


def _request_untrusted(data: memoryview, users: Collection[bytes]) -> Requested | None:
    """Raises BadPacket."""
    if len(data) and data[0] != VERSION:
        raise BadPacket("a client speaks no VLESS of version 0")
    if len(data) >= 17 and bytes(data[1:17]) not in users:
        raise BadPacket("a client shows no user id that is known")
    if len(data) < 18:
        return None
    start = 18 + data[17]
    if data[17]:
        raise BadPacket("a client asks for a flow control (xtls-rprx-vision), which is not served")
    if len(data) < start + 1:
        return None
    command, at = data[start], start + 1
    if command == xudp.COMMAND:
        return Requested(at, _NOWHERE, XUDPFrames(answers=True))
    if command not in {CONNECT, DATAGRAMS}:
        raise BadPacket(f"a client's VLESS command is {command}")
    parsed = parse_port_and_address_untrusted(data[at:])
    if parsed is None:
        return None
    target, size = parsed
    if command == DATAGRAMS:
        return Requested(at + size, target, VLESSFrames(target), is_per_target=True)
    return Requested(at + size, target)
