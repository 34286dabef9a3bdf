"""The target address in a SOCKS5 message, and in front of a Shadowsocks stream or datagram.

Read first: RFC 1928 section 5; Shadowsocks took its ATYP, address and port over ("Addressing", shadowsocks.org).

    +------+----------+----------+
    | ATYP | address  | port     |
    |  1   | variable | 2 (BE)   |     ATYP 1: 4 bytes; 3: length byte and name; 4: 16 bytes
    +------+----------+----------+

A name stays a name even when it reads like an address: what it means is for whoever resolves it.
"""

from __future__ import annotations

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket, LocalError

IPV4 = 1
NAME = 3
IPV6 = 4

MAX_SIZE = 1 + 1 + 255 + 2
"""Bytes of the longest address: a name of 255 bytes."""

_ATYP_OF_SIZE = {4: b"\x01", 16: b"\x04"}


def encode(target: Endpoint) -> bytes:
    """An endpoint as bytes. Raises LocalError for a name that the format cannot carry."""
    port = target.port.to_bytes(2, "big")
    if isinstance(target.host, bytes):
        return _ATYP_OF_SIZE[len(target.host)] + target.host + port
    name = target.host.encode("ascii", "replace")
    if not _is_name(name) or not target.host.isascii():
        raise LocalError("a host name for the server to resolve needs 1 to 255 printable ASCII characters")
    return bytes((NAME, len(name))) + name + port


def parse_untrusted(data: Buffer) -> tuple[Endpoint, int] | None:
    """The endpoint at the front of `data` and its size in bytes; None while `data` ends inside it.

    Raises BadPacket for an unknown ATYP and for a name that is empty or not printable ASCII: it would go into
    logs and a resolver.
    """
    if not data:
        return None
    kind = data[0]
    start = 1
    if kind == IPV4:
        end = 5
    elif kind == IPV6:
        end = 17
    elif kind == NAME:
        if len(data) < 2:
            return None
        start = 2
        end = 2 + data[1]
    else:
        raise BadPacket(f"address type {kind} is none of 1, 3 and 4")
    if kind == NAME and end == start:
        raise BadPacket("empty host name in an address")
    if len(data) < end + 2:
        return None
    host = bytes(data[start:end])
    port = data[end] << 8 | data[end + 1]
    if kind != NAME:
        return Endpoint(host, port), end + 2
    if not _is_name(host):
        raise BadPacket("host name in an address is not printable ASCII")
    return Endpoint(host.decode("ascii"), port), end + 2


def _is_name(name: bytes) -> bool:
    return 1 <= len(name) <= 255 and all(0x21 <= byte <= 0x7E for byte in name)
