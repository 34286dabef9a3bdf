"""IPv4 headers: parse to a header that lies in the packet, or BadPacket."""

from __future__ import annotations

from tunflow.errors import BadPacket
from tunflow.wire import ipv4
from tunflow.wire.checksum import checksum


def _with_options(options: bytes) -> bytes:
    header = bytearray(ipv4.build(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), 6, len(options) + 4) + options)
    header[0] = 0x40 | len(header) // 4
    header[10:12] = bytes(2)
    header[10:12] = checksum(header).to_bytes(2, "big")
    return bytes(header) + b"data"


SEEDS: list[bytes] = [
    ipv4.build(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), 6, 4) + b"data",
    bytes.fromhex("45000073000040004011b861c0a80001c0a800c7") + bytes(0x73 - 20),
    _with_options(bytes([148, 4, 0, 0, 1, 0, 0, 0])),  # router alert (RFC 2113), no operation, end
    _with_options(bytes([131, 7, 4, 10, 0, 0, 3, 0])),  # a source route
]


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    try:
        header = ipv4.parse_untrusted(data)
    except BadPacket:
        return
    assert 20 <= header.header_length <= header.total_length <= len(data)
    assert header.header_length <= 60
    assert header.fragment_offset + header.total_length - header.header_length <= 65515
