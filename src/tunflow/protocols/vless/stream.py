"""The client's end of a VLESS stream.

Read first: xtls.github.io, "VLESS protocol" (version 0). The request is the version, the user's id, addons, the
command, the port and the address; the answer, in front of the flow, is the version and addons, of which there are none.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols import xudp
from tunflow.protocols.codec import Datagram
from tunflow.protocols.handshake import Handshake
from tunflow.protocols.xudp import port_and_address

VERSION = 0
CONNECT = 1
DATAGRAMS = 2
VISION = b"\x0a\x10xtls-rprx-vision"
"""Addons that name the flow control: the first field of a protobuf message."""
LONGEST = 8192
"""Bytes of a datagram: servers read into pieces of this size, and would make several of a longer one."""


class VLESSClient(Handshake):
    """One flow to `target`, with `DATAGRAMS` a stream of `VLESSFrames`, with
    `xudp.COMMAND` one of `XUDPFrames`.

    The flow goes out behind the request, without waiting for the answer.
    """

    __slots__ = ()

    def __init__(self, target: Endpoint, user: bytes, command: int = CONNECT, addons: bytes = b"") -> None:
        where = b"" if command == xudp.COMMAND else port_and_address(target)
        head = bytes((VERSION,)) + user + bytes((len(addons),)) + addons
        super().__init__([b"".join((head, bytes((command,)), where))])
        self.established = True

    def _hear_untrusted(self, data: memoryview) -> int:
        if len(data) and data[0] != VERSION:
            raise BadPacket(f"what answers is no VLESS server (its first byte is {data[0]:#04x})")
        if len(data) < 2 or len(data) < 2 + data[1]:
            return 0
        self._stands()
        return 2 + data[1]


class VLESSFrames:
    """Datagrams to and from `target`: size and payload. As `StreamDatagramCodec`."""

    __slots__ = ("_target",)

    def __init__(self, target: Endpoint) -> None:
        self._target = target

    def seal(self, peer: Endpoint, payload: Buffer) -> Sequence[Buffer]:
        """As `StreamDatagramCodec.seal`; an empty datagram has no frame of its own."""
        if not 0 < len(payload) <= LONGEST or peer != self._target:
            raise BadPacket(f"a VLESS stream takes datagrams of 1 to {LONGEST} bytes for its target")
        return len(payload).to_bytes(2, "big"), payload

    def open_untrusted(self, data: memoryview) -> tuple[list[Datagram], int]:
        """As `StreamDatagramCodec.open_untrusted`. Raises nothing: every size is one."""
        datagrams: list[Datagram] = []
        at = 0
        while len(data) >= at + 2:
            end = at + 2 + (data[at] << 8 | data[at + 1])
            if len(data) < end:
                break
            datagrams.append(Datagram(self._target, bytes(data[at + 2 : end])))
            at = end
        return datagrams, at
