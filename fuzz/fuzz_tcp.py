"""TCP headers: parse to a header that lies in the segment and whose options can be built again, or
BadPacket."""

from __future__ import annotations

from tunflow.errors import BadPacket
from tunflow.wire import tcp

SEEDS: list[bytes] = [
    tcp.build(1, 2, 3, 4, tcp.ACK) + b"data",
    tcp.build(1, 2, 3, 4, tcp.SYN, options=tcp.Options(1460, 7, True, (), (5, 6))),
    tcp.build(1, 2, 3, 4, tcp.ACK, options=tcp.Options(sack=((1, 2), (3, 4), (5, 6), (7, 8)))),
]


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    _options(data)
    try:
        header = tcp.parse_untrusted(data)
    except BadPacket:
        return
    assert 20 <= header.header_length <= min(60, len(data))
    again = tcp.parse_options(tcp.build_options(header.options))
    assert again._replace(sack=()) == header.options._replace(sack=())


def _options(data: bytes) -> None:
    options = tcp.parse_options(data[:40])
    assert options.window_scale is None or options.window_scale <= 14
    assert options.mss is None or 0 < options.mss <= 65535
