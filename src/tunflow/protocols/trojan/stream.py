"""The client's end of a Trojan stream.

Read first: the Trojan protocol (trojan-gfw.github.io). A line with the password's SHA-224, a line with the command and
the target in SOCKS5's form, then the flow. The server never answers: to who has no password it is a web site.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha224

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols import address
from tunflow.protocols.codec import Datagram
from tunflow.protocols.datagrams_in_stream import datagrams_untrusted
from tunflow.protocols.first_request import FirstRequest

CONNECT = 1
ASSOCIATE = 3

LONGEST = 8192
"""Bytes of a datagram: what servers take, which end the stream over a longer one."""

KEY = 56
"""Bytes of what is shown of a password."""
END = b"\r\n"


def key_of(password: str) -> bytes:
    """Return what is shown of a password: its SHA-224 in hexadecimal digits."""
    return sha224(password.encode()).hexdigest().encode()


def client(target: Endpoint, password: str, command: int = CONNECT) -> FirstRequest:
    """One flow to `target`, or with `ASSOCIATE` a stream of `TrojanFrames`."""
    return FirstRequest(b"".join((key_of(password), END, bytes((command,)), address.encode(target), END)))


class TrojanFrames:
    """Datagrams to and from anybody: address, size, an empty line's end, payload. As `StreamDatagramCodec`."""

    __slots__ = ()

    def seal(self, peer: Endpoint, payload: Buffer) -> Sequence[Buffer]:
        """As `StreamDatagramCodec.seal`."""
        if len(payload) > LONGEST:
            raise BadPacket(f"a Trojan server takes datagrams of up to {LONGEST} bytes")
        return address.encode(peer), len(payload).to_bytes(2, "big"), END, payload

    def open_untrusted(self, data: memoryview) -> tuple[list[Datagram], int]:
        """As `StreamDatagramCodec.open_untrusted`."""
        return datagrams_untrusted(data, has_line_end=True)
