"""IPv6 headers and extension headers: a walk that ends inside the packet, or BadPacket."""

from __future__ import annotations

from tunflow.errors import BadPacket
from tunflow.wire import ipv6

_ADDRESS = bytes(15) + b"\x01"
_PADDED = bytes([0, 1, 4, 0, 0, 0, 0])

SEEDS: list[bytes] = [
    ipv6.build(_ADDRESS, _ADDRESS, 6, 4) + b"data",
    ipv6.build(_ADDRESS, _ADDRESS, 0, 24) + b"\x3c" + _PADDED + b"\x2b" + _PADDED + b"\x11" + bytes(7),
    ipv6.build(_ADDRESS, _ADDRESS, 44, 16) + bytes([60, 0, 0, 1, 0, 0, 0, 9, 17]) + _PADDED,
]


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    try:
        header = ipv6.parse_untrusted(data)
        walked = ipv6.walk_extensions_untrusted(data)
    except BadPacket:
        return
    assert 40 <= walked.offset <= header.total_length <= len(data)
    fragment = walked.fragment
    if fragment is not None:
        assert 40 <= fragment.header_at <= walked.offset - 8
        assert data[fragment.named_at] == 44
        assert fragment.offset % 8 == 0
