"""The client's end of a VLESS stream.

Read first: xtls.github.io, "VLESS protocol" (version 0). The request is the version, the user's id, no addons, the
command, the port and the address; the answer, in front of the flow, is the version and addons, of which there are none.
"""

from __future__ import annotations

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols import address
from tunflow.protocols.handshake import Handshake

VERSION = 0
CONNECT = 1
_KINDS = {address.IPV4: b"\x01", address.NAME: b"\x02", address.IPV6: b"\x03"}


def port_and_address(target: Endpoint) -> bytes:
    """The target as VLESS and VMess write it. Raises LocalError for a name that cannot be carried."""
    socks = address.encode(target)
    return socks[-2:] + _KINDS[socks[0]] + socks[1:-2]


class VLESSClient(Handshake):
    """One flow to `target`. The flow goes out behind the request, without waiting for the answer."""

    __slots__ = ()

    def __init__(self, target: Endpoint, user: bytes) -> None:
        super().__init__([b"".join((bytes((VERSION,)), user, b"\0", bytes((CONNECT,)), port_and_address(target)))])
        self.established = True

    def _hear_untrusted(self, data: memoryview) -> int:
        if len(data) and data[0] != VERSION:
            raise BadPacket(f"what answers is no VLESS server (its first byte is {data[0]:#04x})")
        if len(data) < 2 or len(data) < 2 + data[1]:
            return 0
        self._stands()
        return 2 + data[1]
