"""ChinaDNS's mutation: a query that its resolver reads as ever, and an injector does not.

The root label that ends the question's name is replaced by a pointer to a zero byte in the header, which is the same
name. Some resolvers take it and repeat it in the answer (dnsmasq), others refuse it (unbound: FORMERR), so a user must
try.
"""

from __future__ import annotations

import struct

from tunflow.dns.answers import CNAME, NS, PTR, SOA, parse_answer_untrusted
from tunflow.dns.messages import HEADER, name_end_untrusted
from tunflow.dns.names import name_untrusted

_ROOT = b"\xc0\x04"
"""A pointer to offset 4, the upper byte of the number of questions."""
_MX = 15
_MOST_RECORDS = 256
_fixed = struct.Struct("!HHIH")


def mutated(query: bytes) -> bytes:
    """The query with the pointer for its root label. `query` is one of our own; it becomes one byte longer."""
    root = name_end_untrusted(query, HEADER.size) - 1
    return query[:root] + _ROOT + query[root + 1 :]


def is_mutated(message: bytes, name: bytes) -> bool:
    """Return True if a message's question is `name` (in wire form, letters as they are) with the pointer."""
    end = HEADER.size + len(name) - 1
    return message[HEADER.size : end] == name[:-1] and message[end : end + 2] == _ROOT


def restored_untrusted(message: bytes) -> bytes:
    """The answer to a mutated query as if it were to the plain one. Raises BadPacket.

    All that follows the question moves by a byte, so names are written out instead of compressed: those of records, and
    those in the data of the types that may be compressed (RFC 3597 §4).
    """
    answer = parse_answer_untrusted(message)
    end = name_end_untrusted(message, HEADER.size)
    sections = [0, 0, 0]
    out = bytearray(message[: HEADER.size]) + name_untrusted(message, HEADER.size) + message[end : end + 4]
    for record in answer.records[:_MOST_RECORDS]:
        data = _data_untrusted(message, record.kind, record.data_at, record.size)
        out += name_untrusted(message, record.name_at)
        out += _fixed.pack(record.kind, record.klass, record.ttl, len(data)) + data
        sections[record.section] += 1
    out[6:12] = struct.pack("!HHH", *sections)
    return bytes(out)


def _data_untrusted(message: bytes, kind: int, at: int, size: int) -> bytes:
    """A record's data with its names written out."""
    if kind in {CNAME, NS, PTR}:
        return name_untrusted(message, at)
    if kind == _MX:
        return message[at : at + 2] + name_untrusted(message, at + 2)
    if kind == SOA:
        second = name_end_untrusted(message, at)
        rest = name_end_untrusted(message, second)
        return name_untrusted(message, at) + name_untrusted(message, second) + message[rest : at + size]
    return message[at : at + size]
