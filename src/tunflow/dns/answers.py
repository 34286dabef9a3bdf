"""What stands in an answer: its records, as places in the message rather than as objects of their data.

Rules: one walk, no name is followed unless somebody asks for it; nothing is copied. A record that an answer carries
for a name that the question does not lead to is not believed (RFC 5452 §6, RFC 2181 §5.4.1).

Read first: RFC 1035 §4.1, RFC 2308 §2 (no such name, no data), RFC 6891 §6.1 (EDNS).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from tunflow.dns.messages import HEADER, OPT, name_end_untrusted
from tunflow.dns.names import name_untrusted, text_of
from tunflow.errors import BadPacket

A, NS, CNAME, SOA, PTR, AAAA, SVCB, HTTPS, ANY = 1, 2, 5, 6, 12, 28, 64, 65, 255
"""RFC 1035 §3.2.2, RFC 3596 §2.1, RFC 9460 §14."""
IN = 1
ANSWER, AUTHORITY, ADDITIONAL = 0, 1, 2
NO_ERROR, NO_SUCH_NAME = 0, 3

MOST_ADDRESSES = 256
MOST_ALIASES = 16
"""How far an answer is read for addresses; a browser tries a handful."""

_SMALLEST_SOA = 22
"""Bytes: two root names and five numbers (RFC 1035 §3.3.13)."""
_fixed = struct.Struct("!HHIH")
_TTL_END = 1 << 31
"""A life that is longer is 0 (RFC 2181 §8)."""
_SIZES = {A: 4, AAAA: 16}
_DNAME = 39
_ALIASES = frozenset({CNAME, _DNAME})
_LEADING = _ALIASES | {SVCB, HTTPS}
_HINTS = {4: 4, 6: 16}
"""RFC 9460 §14.3.2: the parameters ipv4hint and ipv6hint, and the size of an address in them."""


class Record(NamedTuple):
    """One resource record; the numbers ending in `at` are places in the message."""

    section: int
    name_at: int
    kind: int
    klass: int
    ttl: int
    ttl_at: int
    data_at: int
    size: int


class Answer(NamedTuple):
    """A response with one question."""

    message: bytes
    code: int
    """The response code, with EDNS's upper bits (RFC 6891 §6.1.3)."""
    truncated: bool
    records: tuple[Record, ...]
    """Without EDNS's."""
    body_size: int
    """Bytes to keep, without EDNS's record, which is between two neighbours only (RFC 6891 §6.2.1). Where that is not
    the last one, all additional records go: they are nobody's due (RFC 2181 §9), and names in them could not move."""
    additional: int
    """Records of the additional section within `body_size`."""

    def data(self, record: Record) -> bytes:
        """A record's data as it stands."""
        return self.message[record.data_at : record.data_at + record.size]

    @property
    def is_empty(self) -> bool:
        """True if there is no record in the answer section."""
        return not self.records or self.records[0].section != ANSWER


def parse_answer_untrusted(message: bytes) -> Answer:
    """The records of a response. Raises BadPacket for what is none, or does not hold what its header promises."""
    if len(message) < HEADER.size:
        raise BadPacket(f"DNS message of {len(message)} bytes")
    _, flags, questions, answers, authorities, additionals = HEADER.unpack_from(message)
    if not flags & 0x8000 or questions != 1:
        raise BadPacket("DNS message that is no answer to one question")
    at = name_end_untrusted(message, HEADER.size) + 4
    records: list[Record] = []
    code = flags & 15
    opt_at = opt_end = additional_at = 0
    bounds = (answers, answers + authorities)
    for number in range(answers + authorities + additionals):
        if number == bounds[1]:
            additional_at = at
        name_at, at = at, name_end_untrusted(message, at)
        if at + _fixed.size > len(message):
            raise BadPacket("DNS record is cut off")
        kind, klass, ttl, size = _fixed.unpack_from(message, at)
        data_at = at + _fixed.size
        section = ANSWER if number < bounds[0] else AUTHORITY if number < bounds[1] else ADDITIONAL
        if _SIZES.get(kind, size) != size and klass == IN:
            raise BadPacket(f"DNS address record of {size} bytes")
        if kind == OPT:
            if section != ADDITIONAL or opt_end:
                raise BadPacket("DNS message with EDNS records where they do not belong")
            code |= ttl >> 24 << 4
            opt_at, opt_end = name_at, data_at + size
        else:
            ttl = ttl if ttl < _TTL_END else 0
            records.append(Record(section, name_at, kind, klass, ttl, at + 4, data_at, size))
        at = data_at + size
        if at > len(message):
            raise BadPacket("DNS record is cut off")
    if at > len(message):  # the question alone
        raise BadPacket("DNS question is cut off")
    body_size, kept = at, additionals
    if opt_end:
        body_size, kept = (opt_at, additionals - 1) if opt_end == at else (additional_at, 0)
    return Answer(message, code, bool(flags & 0x0200), tuple(records), body_size, kept)


def addresses_untrusted(answer: Answer) -> list[bytes]:
    """The packed addresses of the name that was asked for, in order, along its aliases. Raises BadPacket."""
    message = answer.message
    wanted = {name_untrusted(message, HEADER.size).lower()}
    found: list[bytes] = []
    waiting = [record for record in answer.records[:MOST_ADDRESSES] if record.section == ANSWER and record.klass == IN]
    for _ in range(MOST_ALIASES):  # aliases come in order; a pass for each that does not
        later: list[Record] = []
        aliases = len(wanted)
        for record in waiting:
            if record.kind not in {A, AAAA, CNAME}:
                continue
            owner = name_untrusted(message, record.name_at).lower()
            if owner not in wanted:
                later.append(record)
            elif record.kind == CNAME:
                wanted.add(name_untrusted(message, record.data_at).lower())
            else:
                found.append(answer.data(record))
        if not later or len(wanted) == aliases:
            break
        waiting = later
    return found


def led_to_untrusted(answer: Answer) -> list[str]:
    """The names that an answer leads to, in order: those of aliases, and the targets of HTTPS and SVCB records.

    Raises BadPacket.
    """
    message, found = answer.message, []
    for record in answer.records[:MOST_ADDRESSES]:
        if record.section != ANSWER or record.klass != IN or record.kind not in _LEADING:
            continue
        at = record.data_at if record.kind in _ALIASES else record.data_at + 2
        name = text_of(name_untrusted(message, at)).lower()
        if name:  # the root stands for the record's own name (RFC 9460 §2.5.2)
            found.append(name)
    return found


def is_about(answer: Answer, kind: int) -> bool:
    """Return True if an answer holds a record of the type asked for, or an alias, or none at all.

    An injector answers an HTTPS query with the address record that it answers everything with.
    """
    if kind == ANY or answer.is_empty:
        return True
    kinds = {record.kind for record in answer.records if record.section == ANSWER}
    return kind in kinds or not kinds.isdisjoint(_ALIASES)


def hints_untrusted(answer: Answer) -> list[bytes]:
    """The packed addresses that HTTPS and SVCB records hint at (RFC 9460 §7.3), in order. Raises BadPacket."""
    found: list[bytes] = []
    for record in answer.records[:MOST_ADDRESSES]:
        if record.section == ANSWER and record.klass == IN and record.kind in {SVCB, HTTPS}:
            end = record.data_at + record.size
            found += _hints_untrusted(answer.message, name_end_untrusted(answer.message, record.data_at + 2), end)
    return found


def _hints_untrusted(message: bytes, at: int, end: int) -> list[bytes]:
    """The addresses among the parameters from `at` to `end`: key, length and value each (RFC 9460 §2.2)."""
    found: list[bytes] = []
    while at < end:
        if at + 4 > end:
            raise BadPacket("DNS service parameter is cut off")
        key, size = int.from_bytes(message[at : at + 2], "big"), int.from_bytes(message[at + 2 : at + 4], "big")
        at += 4
        if at + size > end:
            raise BadPacket("DNS service parameter is cut off")
        if (step := _HINTS.get(key)) is not None:
            found += [message[start : start + step] for start in range(at, at + size - step + 1, step)]
        at += size
    return found


def lifetime(answer: Answer) -> int | None:
    """Seconds that an answer may be kept; None where it must not.

    An answer with records: their smallest TTL (RFC 2181 §5.2). One without, or with an alias only: the SOA's TTL or its
    MINIMUM field, whichever is less; without an SOA such an answer is not kept (RFC 2308 §5).
    """
    if answer.truncated or answer.code not in {NO_ERROR, NO_SUCH_NAME}:
        return None
    answered = [record for record in answer.records if record.section == ANSWER]
    lives = [record.ttl for record in answered]
    if answer.code == NO_ERROR and any(record.kind != CNAME for record in answered):
        return min(lives)
    for record in answer.records:
        if record.section == AUTHORITY and record.kind == SOA and record.size >= _SMALLEST_SOA:
            minimum = int.from_bytes(answer.data(record)[-4:], "big")
            return min(record.ttl, minimum, *lives)
    return None
