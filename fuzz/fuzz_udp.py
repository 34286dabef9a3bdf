"""UDP headers: parse to a header that lies in the datagram, or BadPacket."""

from __future__ import annotations

from tunflow.errors import BadPacket
from tunflow.wire import udp

SEEDS: list[bytes] = [udp.build(53, 1024, 4, checksum=1) + b"data", udp.build(1, 2, 0)]


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    try:
        header = udp.parse_untrusted(data)
    except BadPacket:
        return
    assert 8 <= header.length <= len(data)
