"""A client's SOCKS5 messages: bytes in, frozen values out, and the other way round.

Read first: RFC 1928 (§3 methods, §4 requests, §6 replies), RFC 1929 (user name and password), and Tor's
socks-extensions for RESOLVE, RESOLVE_PTR and the extended errors F0 to F7.

Rules: `None` from a parser means that the message is not whole yet; a name in a reply is kept as a name.
"""

from __future__ import annotations

from typing import NamedTuple

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket, LocalError
from tunflow.protocols import address
from tunflow.protocols.codec import Refusal

VERSION = 5
CONNECT = 1
UDP_ASSOCIATE = 3
RESOLVE = 0xF0
RESOLVE_PTR = 0xF1
"""RFC 1928 §4 "CMD"; the last two are Tor's."""

NO_AUTHENTICATION = 0
USERNAME_PASSWORD = 2
NO_ACCEPTABLE_METHOD = 0xFF
"""RFC 1928 §3."""

ANYWHERE = Endpoint(bytes(4), 0)
"""RFC 1928 §7: the address of a UDP client that does not know its own yet."""

_REPLIES = {
    1: (Refusal.FAILED, "general SOCKS server failure"),
    2: (Refusal.PROHIBITED, "connection not allowed by ruleset"),
    3: (Refusal.NET_UNREACHABLE, "network unreachable"),
    4: (Refusal.HOST_UNREACHABLE, "host unreachable"),
    5: (Refusal.REFUSED, "connection refused"),
    6: (Refusal.TIMED_OUT, "TTL expired"),
    7: (Refusal.UNSUPPORTED, "command not supported"),
    8: (Refusal.UNSUPPORTED, "address type not supported"),
    0xF0: (Refusal.HOST_UNREACHABLE, "onion service descriptor not found"),
    0xF1: (Refusal.HOST_UNREACHABLE, "onion service descriptor is invalid"),
    0xF2: (Refusal.HOST_UNREACHABLE, "onion service introduction failed"),
    0xF3: (Refusal.HOST_UNREACHABLE, "onion service rendezvous failed"),
    0xF4: (Refusal.PROHIBITED, "onion service wants client authorization"),
    0xF5: (Refusal.PROHIBITED, "onion service refuses the client authorization"),
    0xF6: (Refusal.HOST_UNREACHABLE, "not an onion address"),
    0xF7: (Refusal.TIMED_OUT, "onion service introduction timed out"),
}
"""RFC 1928 §6 "REP", and Tor's socks-extensions §"Extended error codes"."""


class Credentials(NamedTuple):
    """What RFC 1929 sends, each 1 to 255 bytes (Tor and many servers also take them empty)."""

    user: bytes
    password: bytes


def credentials(user: str, password: str) -> Credentials:
    """Checked credentials. Raises LocalError."""
    made = Credentials(user.encode(), password.encode())
    if not 1 <= len(made.user) <= 255 or len(made.password) > 255:
        raise LocalError("a SOCKS5 user name has 1 to 255 bytes and its password at most 255")
    return made


def greeting(has_credentials: bool) -> bytes:
    """Which methods we offer. Credentials need not be taken."""
    methods = (NO_AUTHENTICATION, USERNAME_PASSWORD) if has_credentials else (NO_AUTHENTICATION,)
    return bytes((VERSION, len(methods), *methods))


def sign_in(known: Credentials) -> bytes:
    """RFC 1929 §2: the user name and password."""
    return b"".join((b"\x01", bytes((len(known.user),)), known.user, bytes((len(known.password),)), known.password))


def request(command: int, target: Endpoint) -> bytes:
    """RFC 1928 §4. Raises LocalError for a name that the format cannot carry."""
    return bytes((VERSION, command, 0)) + address.encode(target)


def parse_method_untrusted(data: Buffer) -> int | None:
    """The method that the server chose. Raises BadPacket."""
    if len(data) < 2:
        _check_version(data)
        return None
    _check_version(data)
    return data[1]


def parse_sign_in_untrusted(data: Buffer) -> bool | None:
    """Return True if the server took the credentials. RFC 1929 §2: the version is 1, the status 0 for yes.

    Some servers answer with version 5; the status alone decides.
    """
    return None if len(data) < 2 else data[1] == 0


def parse_reply_untrusted(data: Buffer) -> tuple[int, Endpoint, int] | None:
    """The reply's code, its address, and its size in bytes. Raises BadPacket."""
    _check_version(data)
    if len(data) < 4:
        return None
    view = memoryview(data)
    if data[1]:
        # What stands behind a refusal is nothing: Tor sends an address of type 0 there, others none at all.
        return data[1], ANYWHERE, len(data)
    if data[3] == address.NAME and len(data) > 4 and data[4] == 0:  # seen where a server has no address to tell
        return (0, ANYWHERE, 7) if len(data) >= 7 else None
    parsed = address.parse_untrusted(view[3:])
    if parsed is None:
        return None
    bound, size = parsed
    return 0, bound, 3 + size


def refusal_of(code: int) -> tuple[Refusal, str]:
    """What a reply's code other than 0 means, and its name."""
    return _REPLIES.get(code, (Refusal.FAILED, f"SOCKS5 reply {code:#04x}"))


def seal_datagram(peer: Endpoint, payload: Buffer) -> bytes:
    """RFC 1928 §7: reserved, no fragment, address, data."""
    return b"".join((b"\0\0\0", address.encode(peer), payload))


def parse_datagram_untrusted(datagram: Buffer) -> tuple[Endpoint, memoryview]:
    """Address and payload of a relayed datagram. Raises BadPacket.

    RFC 1928 §7: "an implementation that does not support fragmentation MUST drop any datagram whose FRAG field is
    other than X'00'".
    """
    view = memoryview(datagram)
    if len(view) < 4:
        raise BadPacket("a SOCKS5 datagram is too short")
    if view[2]:
        raise BadPacket("a SOCKS5 datagram is a fragment")
    parsed = address.parse_untrusted(view[3:])
    if parsed is None:
        raise BadPacket("a SOCKS5 datagram ends inside its address")
    peer, size = parsed
    return peer, view[3 + size :]


def _check_version(data: Buffer) -> None:
    if data and data[0] != VERSION:
        raise BadPacket(f"what answers is not a SOCKS5 server (its first byte is {data[0]:#04x})")
