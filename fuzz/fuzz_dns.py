"""Any bytes as a query, as an answer and as a TCP stream: a value or BadPacket, and what is made of it is sound."""

from __future__ import annotations

from tunflow.dns.messages import (
    HEADER,
    SERVER_FAILURE,
    Deframer,
    failure,
    frame,
    is_answer,
    parse_query_untrusted,
    truncated,
)
from tunflow.errors import BadPacket

_QUESTION = b"\x03www\x07example\x03org\x00\x00\x1c\x00\x01"
_EDNS = bytes.fromhex("00002904d0000080000000")

SEEDS = [
    HEADER.pack(1, 0x0100, 1, 0, 0, 0) + _QUESTION,
    HEADER.pack(1, 0x0120, 1, 0, 0, 1) + _QUESTION + _EDNS,
    HEADER.pack(1, 0x0120, 1, 0, 0, 2) + _QUESTION + b"\xc0\x0c" + _EDNS[1:] + _EDNS,
    HEADER.pack(1, 0x8180, 1, 0, 0, 0) + _QUESTION,
    frame(HEADER.pack(1, 0x8180, 0, 0, 0, 0)) * 3,
]
_QUERY = parse_query_untrusted(SEEDS[1])


def one_input(data: bytes) -> None:
    """Parse, answer, match and deframe."""
    is_answer(data, _QUERY)
    deframer = Deframer()
    messages = deframer.receive(data[: len(data) // 2]) + deframer.receive(data[len(data) // 2 :])
    assert data.startswith(b"".join(map(frame, messages)))
    try:
        query = parse_query_untrusted(data)
    except BadPacket:
        return
    for made in (failure(query, SERVER_FAILURE), truncated(query)):
        assert len(made) <= 512 <= query.udp_size
        assert is_answer(made, query)
        assert made[:2] == data[:2]
