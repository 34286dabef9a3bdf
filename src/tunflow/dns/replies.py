"""The answers that are made here, and a kept answer made fit for another client.

Rules: an answer repeats the client's identifier and its question letter by letter (clients check the case: 0x20), and
has an EDNS record exactly when the query has one (RFC 6891 §7). Names in records point at the question (RFC 1035
§4.1.4), so making one costs no encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tunflow.dns.answers import AAAA, NO_ERROR, PTR, SOA, A, Answer
from tunflow.dns.messages import HEADER, Query, name_end_untrusted

_RESPONSE = 0x8080
"""A response, from one who recurses."""
_AUTHENTIC_DATA = 0x0020
_FROM_QUERY = 0x7910
_NAME = b"\xc0\x0c"
"""A pointer to the question's name."""
_record = struct.Struct("!2sHHIH")
_ttl = struct.Struct("!I")

NEGATIVE_TTL = 60
"""Seconds for which a client may remember that there is nothing, where we say so ourselves."""

_NO_DATA_SOA = b"\0\0" + struct.pack("!IIIII", 1, 3600, 600, 86400, NEGATIVE_TTL)
"""RFC 2308 §5: without an SOA a client would not remember it. Its names are the root."""


def made(query: Query, code: int = NO_ERROR, records: Sequence[bytes] = (), authority: bytes = b"") -> bytes:
    """An answer of our own from whole records."""
    flags = _RESPONSE | query.flags & _FROM_QUERY | code
    header = HEADER.pack(query.identifier, flags, 1, len(records), 1 if authority else 0, 1 if query.edns else 0)
    return b"".join((header, query.question, *records, authority, query.edns))


def addresses(query: Query, found: Sequence[bytes], ttl: int) -> bytes:
    """The answer with packed addresses; those that are not of the type asked for are left out."""
    size = {A: 4, AAAA: 16}.get(query.kind)
    kept = [address for address in found if len(address) == size]
    if not kept:
        return nothing(query)
    return made(query, NO_ERROR, [_record.pack(_NAME, query.kind, 1, ttl, len(each)) + each for each in kept])


def records(query: Query, found: Sequence[tuple[int, bytes]], ttl: int) -> bytes:
    """The answer with records, each a type and its data; those that are not of the type asked for are left out."""
    kept = [_record.pack(_NAME, kind, 1, ttl, len(data)) + data for kind, data in found if kind == query.kind]
    return made(query, NO_ERROR, kept) if kept else nothing(query)


def pointer(query: Query, name: bytes, ttl: int) -> bytes:
    """The answer to a reverse lookup: `name` in wire form."""
    return made(query, NO_ERROR, [_record.pack(_NAME, PTR, 1, ttl, len(name)) + name])


def nothing(query: Query, code: int = NO_ERROR) -> bytes:
    """The answer that there is no such record (`NO_ERROR`) or no such name (`NO_SUCH_NAME`)."""
    soa = _record.pack(b"\xc0\x0c", SOA, 1, NEGATIVE_TTL, len(_NO_DATA_SOA)) + _NO_DATA_SOA
    return made(query, code, (), soa)


def body_of(answer: Answer) -> bytes:
    """A message to keep, without what was for us alone."""
    body = bytearray(answer.message[: answer.body_size])
    body[HEADER.size - 2 : HEADER.size] = answer.additional.to_bytes(2, "big")
    for record in answer.records:
        if record.ttl_at < answer.body_size and not record.ttl:
            body[record.ttl_at : record.ttl_at + 4] = bytes(4)  # also where it had its first bit set
    return bytes(body)


def owners_of(answer: Answer) -> tuple[int, ...]:
    """The places of records' names that repeat the question's without pointing at it."""
    message, end = answer.message, name_end_untrusted(answer.message, HEADER.size)
    asked = message[HEADER.size : end].lower()
    places = (record.name_at for record in answer.records if record.ttl_at < answer.body_size)
    return tuple(at for at in places if message[at : at + len(asked)].lower() == asked)


def for_client(
    body: bytes, ttls: Sequence[tuple[int, int]], age: int, query: Query, authentic: bool, names: Sequence[int] = ()
) -> bytes:
    """A kept message for one client: its identifier, letters and EDNS record, and lives shorter by `age` seconds.

    `ttls` are the places of the records' lives and what they were, `names` those of names that are the question's.
    With `age` negative, each life is `-age` instead: what is served beyond its life (RFC 8767 §4).
    """
    out = bytearray(body)
    flags = _RESPONSE | query.flags & _FROM_QUERY | body[3] & 15
    if authentic and query.wants_authenticated:
        flags |= _AUTHENTIC_DATA
    out[0:2] = query.identifier.to_bytes(2, "big")
    out[2:4] = flags.to_bytes(2, "big")
    out[HEADER.size : HEADER.size + len(query.question)] = query.question
    for at in names:  # clients compare them letter by letter, as some resolvers' 0x20 does
        out[at : at + len(query.name)] = query.name
    if age > 0:
        for at, ttl in ttls:
            _ttl.pack_into(out, at, ttl - age if ttl > age else 0)
    elif age < 0:
        for at, _ in ttls:
            _ttl.pack_into(out, at, -age)
    if query.edns:
        additional = int.from_bytes(out[10:12], "big") + 1
        out[10:12] = additional.to_bytes(2, "big")
        out += query.edns
    return bytes(out)
