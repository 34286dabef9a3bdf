"""Datagrams in a stream as many protocols have them: an address, the size in 16 bits, the bytes."""

from __future__ import annotations

from collections.abc import Callable

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols import address
from tunflow.protocols.codec import Datagram


def datagrams_untrusted(
    data: memoryview,
    address_untrusted: Callable[[memoryview], tuple[Endpoint, int] | None] = address.parse_untrusted,
    *,
    has_line_end: bool = False,
) -> tuple[list[Datagram], int]:
    """Those that are whole, and how many bytes they took. Raises BadPacket.

    With `has_line_end` a line's end stands behind the size. `address_untrusted` gives the address at the front and its
    size, None while it is not whole.
    """
    line_end = b"\r\n" if has_line_end else b""
    datagrams: list[Datagram] = []
    at = 0
    while parsed := address_untrusted(data[at : at + address.MAX_SIZE]):
        source, size = parsed
        behind = at + size + 2
        start = behind + len(line_end)
        if len(data) < start:
            break
        if data[behind:start] != line_end:
            raise BadPacket("a datagram in a stream has no line's end behind its size")
        end = start + (data[behind - 2] << 8 | data[behind - 1])
        if len(data) < end:
            break
        datagrams.append(Datagram(source, bytes(data[start:end])))
        at = end
    return datagrams, at
