"""A client's SOCKS4 and SOCKS4a codec.

Read first: "SOCKS: A protocol for TCP proxy across firewalls" (Y. Koblas, Y.-D. Lee), "SOCKS 4A: A Simple Extension".

    request   04 | command | port (2) | IPv4 (4) | user id | 00 [ | host name | 00 ]
    reply     00 | code | port (2) | IPv4 (4)

SOCKS4 knows IPv4 addresses only; 4a says a name behind an address 0.0.0.x. Neither has IPv6 or UDP.
"""

from __future__ import annotations

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.codec import ProxyRefused, Refusal
from tunflow.protocols.handshake import Handshake

CONNECT = 1
GRANTED = 0x5A
NAME_FOLLOWS = bytes((0, 0, 0, 1))
"""SOCKS 4A: "the first three bytes of DSTIP NULL and a non-zero value for the last"."""

_REPLY_SIZE = 8
_REFUSALS = {
    0x5B: (Refusal.REFUSED, "request rejected or failed"),
    0x5C: (Refusal.CREDENTIALS, "the server wants an identd on this host"),
    0x5D: (Refusal.CREDENTIALS, "the server does not accept the user id"),
}


def request(target: Endpoint, user: str = "", *, names: bool) -> bytes:
    """The bytes that ask for `target`; `names` as SOCKS4a has them. Raises ProxyRefused for what cannot be said."""
    start = bytes((4, CONNECT)) + target.port.to_bytes(2, "big")
    identity = user.encode() + b"\0"
    host = target.host
    if isinstance(host, bytes) and len(host) == 4:
        return start + host + identity
    if isinstance(host, bytes):
        raise ProxyRefused(Refusal.NET_UNREACHABLE, "SOCKS4 carries no IPv6")
    if not names:
        raise ProxyRefused(Refusal.HOST_UNREACHABLE, "SOCKS4 carries no host names; SOCKS4a does")
    name = host.encode("ascii", "replace")
    if not 1 <= len(name) <= 255 or b"\0" in name:
        raise ProxyRefused(Refusal.HOST_UNREACHABLE, "not a host name")
    return start + NAME_FOLLOWS + identity + name + b"\0"


class Socks4Client(Handshake):
    """Asks a SOCKS4 server for a connection to `target`. Raises ProxyRefused for a target it has no words for."""

    __slots__ = ()

    def __init__(self, target: Endpoint, user: str = "", *, names: bool) -> None:
        super().__init__([request(target, user, names=names)])

    def _hear_untrusted(self, data: memoryview) -> int:
        if data and data[0]:
            raise BadPacket(f"what answers is not a SOCKS4 server (its first byte is {data[0]:#04x})")
        if len(data) < _REPLY_SIZE:
            return 0
        if data[1] != GRANTED:
            raise ProxyRefused(*_REFUSALS.get(data[1], (Refusal.FAILED, f"SOCKS4 reply {data[1]:#04x}")))
        self._stands()
        return _REPLY_SIZE
