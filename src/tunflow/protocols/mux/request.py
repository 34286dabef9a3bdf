"""What is said first on a stream of sing-mux: where it goes, and by the server whether it got there.

Read first: SagerNet/sing-mux, protocol.go, client_conn.go and server_conn.go. Flags (1: UDP, 2: an address with each
datagram) and an address in SOCKS5's form; the server's status stands before the first bytes from there, so nobody
waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols import address
from tunflow.protocols.codec import Datagram, ProxyRefused, Refusal
from tunflow.protocols.datagrams_in_stream import datagrams_untrusted

TO_TARGET, DATAGRAMS = 0, 1 | 2
"""Flags."""
LONGEST = 8192
"""Bytes of a datagram."""
_MOST_WORDS = 4096
_REFUSALS = {
    "connection refused": Refusal.REFUSED,
    "network is unreachable": Refusal.NET_UNREACHABLE,
    "no route to host": Refusal.HOST_UNREACHABLE,
    "timeout": Refusal.TIMED_OUT,
}
"""By words of the server's error."""


class StreamRequest:
    """The client's end of one stream to `target`. As `StreamCodec`."""

    __slots__ = ("_is_answered", "_request")

    established = True
    """The server says nothing before it has something from the target."""

    def __init__(self, target: Endpoint, flags: int = TO_TARGET) -> None:
        self._request = flags.to_bytes(2, "big") + address.encode(target)
        self._is_answered = False

    @property
    def transparent(self) -> bool:
        """True if the request has gone out, and the answer was heard."""
        return self._is_answered and not self._request

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """As `StreamCodec.seal`; the first call starts with the request."""
        request, self._request = self._request, b""
        return [request, *pieces] if request else list(pieces)

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """As `StreamCodec.open_untrusted`. Raises BadPacket and ProxyRefused."""
        start = 0
        if not self._is_answered and data:
            if data[0] > 1:
                raise BadPacket(f"status {data[0]} of a stream is none of 0 and 1")
            if data[0]:
                if (words := _words_untrusted(data[1:])) is None:
                    return [], 0
                raise _refused(words)
            self._is_answered = True
            start = 1
        rest = data[start:]
        return ([bytes(rest)] if rest else []), len(data)

    def finish(self) -> list[Buffer]:
        """Nothing: the stream's end is the flow's."""
        return []


class AddressedFrames:
    """Datagrams to and from anybody: address, size, payload. As `StreamDatagramCodec`."""

    __slots__ = ()

    def seal(self, peer: Endpoint, payload: Buffer) -> Sequence[Buffer]:
        """As `StreamDatagramCodec.seal`."""
        if len(payload) > LONGEST:
            raise BadPacket(f"a datagram in a mux has up to {LONGEST} bytes")
        return address.encode(peer), len(payload).to_bytes(2, "big"), payload

    def open_untrusted(self, data: memoryview) -> tuple[list[Datagram], int]:
        """As `StreamDatagramCodec.open_untrusted`."""
        return datagrams_untrusted(data)


def _words_untrusted(data: memoryview) -> str | None:
    """The text behind its size (seven bits a byte, the lowest first); None while it is not whole. Raises BadPacket."""
    size = shift = at = 0
    while True:
        if at == len(data):
            return None
        size |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            break
        if shift > 14:
            raise BadPacket("the server's error has no size")
    if size > _MOST_WORDS:
        raise BadPacket(f"the server's error has more than {_MOST_WORDS} bytes")
    return bytes(data[at : at + size]).decode(errors="replace") if len(data) >= at + size else None


def _refused(words: str) -> ProxyRefused:
    shown = "".join(each if each.isprintable() else "?" for each in words[:200])
    kind = next((kind for word, kind in _REFUSALS.items() if word in words), Refusal.FAILED)
    return ProxyRefused(kind, shown)
