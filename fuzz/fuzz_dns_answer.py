"""Any bytes as a resolver's reply: a value or BadPacket, in time, and dnspython reads what is kept of it."""

from __future__ import annotations

from contextlib import suppress

from tunflow.dns.answers import addresses_untrusted, led_to_untrusted, lifetime, parse_answer_untrusted
from tunflow.dns.cache import CachedAnswer
from tunflow.dns.chinadns import FOREIGN, ChinaDNS, judge
from tunflow.dns.messages import HEADER, is_answer, parse_query_untrusted
from tunflow.dns.mutation import restored_untrusted
from tunflow.dns.names import name_untrusted, reverse_address, text_of, wire_of
from tunflow.errors import BadPacket, LocalError

_QUESTION = b"\x03www\x07example\x03org\x00\x00\x01\x00\x01"
_A = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1"
_ALIAS = b"\xc0\x0c\0\5\0\1\0\0\0\x3c\0\4\1b\xc0\x10"
_TARGET = b"\xc0\x2d\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\2"
_SOA = b"\xc0\x10\0\6\0\1\0\0\0\x3c\0\x18\xc0\x10\xc0\x10" + bytes(20)
_EDNS = bytes.fromhex("00002904d0000080000000")

SEEDS = [
    HEADER.pack(1, 0x8180, 1, 1, 0, 1) + _QUESTION + _A + _EDNS,
    HEADER.pack(1, 0x8180, 1, 2, 0, 1) + _QUESTION + _ALIAS + _TARGET + _EDNS,
    HEADER.pack(1, 0x8183, 1, 0, 1, 1) + _QUESTION + _SOA + _EDNS,
    HEADER.pack(1, 0x8180, 1, 1, 1, 2) + _QUESTION + _A + _SOA + _EDNS + _A,
    HEADER.pack(1, 0x8180, 1, 4000, 0, 0) + _QUESTION + _A * 4000,
]
_QUERY = parse_query_untrusted(HEADER.pack(7, 0x0100, 1, 0, 0, 1) + _QUESTION + _EDNS)
_TABLE = ChinaDNS(lambda address: address[0] < 100, lambda address: address[0] == 99, bidirectional=True)


def one_input(data: bytes) -> None:
    """Parse, judge, keep and give out again."""
    try:
        name = name_untrusted(data, min(12, len(data)))
    except BadPacket:
        pass
    else:
        assert name[-1] == 0
        assert len(name) <= 255
        reverse_address(name)
        try:
            wire_of(text_of(name))
        except LocalError:
            assert "\\" in text_of(name)
    try:
        answer = parse_answer_untrusted(data)
        addresses = addresses_untrusted(answer)
    except BadPacket:
        return
    assert all(len(address) in {4, 16} for address in addresses)
    with suppress(BadPacket):
        assert all(led_to_untrusted(answer))
    with suppress(BadPacket):
        parse_answer_untrusted(restored_untrusted(data))
    life = lifetime(answer)
    judge(answer, FOREIGN, _TABLE)
    entry = CachedAnswer(answer, life or 0, 0.0)
    assert len(entry.body) <= len(data)
    if is_answer(data, _QUERY) and data[4:6] == b"\0\1":
        for now in (0.0, 10.0, 1e9):
            again = parse_answer_untrusted(entry.reply(_QUERY, now))
            assert again.message[:2] == b"\0\7"
            assert len(again.records) <= len(answer.records)
