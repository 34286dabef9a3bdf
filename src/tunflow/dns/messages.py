"""DNS messages as who passes them on sees them: the header, the question and the EDNS record, and nothing else. Pure.

Rules: names are not decoded and records not read here; answers that have to be made are the two smallest, "failed" and
"come again by TCP" (`dns.replies` makes the others).

Read first: RFC 1035 §4 (messages; §4.2.2 TCP framing), RFC 6891 §6 (EDNS and the UDP size), RFC 7766 (DNS over TCP),
RFC 5452 §9 (what an answer must match).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket

HEADER = struct.Struct("!HHHHHH")
"""RFC 1035 §4.1.1: identifier, flags, and the numbers of questions, answers, authorities and additional records."""

MAX_QUERY = 4096
"""Bytes. A query over UDP is a name and an EDNS record; nothing that is longer than this is one."""

FORMAT_ERROR = 1
SERVER_FAILURE = 2
NOT_IMPLEMENTED = 4
REFUSED = 5
"""RFC 1035 §4.1.1: response codes."""

_RESPONSE = 0x8000
_TRUNCATED = 0x0200
_RECURSION_AVAILABLE = 0x0080
_KEPT_FLAGS = 0x7910
"""What an answer repeats of its query's flags: opcode and RD (RFC 1035 §4.1.1), CD (RFC 4035 §3.2.2)."""

_MIN_UDP_SIZE = 512
"""RFC 1035 §2.3.4 without EDNS; RFC 6891 §6.2.3: smaller values are to be treated as 512."""
PADDED_TO = 128
"""Bytes of which an encrypted query's length is a multiple (RFC 8467 §4.1)."""
_PADDING = 12
"""The option's code (RFC 7830 §3)."""
_OPTION = struct.Struct("!HH")
_EDNS_SIZE = 11
"""Bytes of an EDNS record without options."""
_EDNS_START = b"\0\0\x29"
OPT = 41
"""The EDNS record's type (RFC 6891 §6.1.1)."""
_DNSSEC_OK = 0x8000
_DNSSEC_OK_AT = 7
"""The place in an EDNS record of the byte whose first bit is DO: behind root, type, size, extended code, version."""
_BAD_VERSION = 1 << 24
"""The extended response code 16, whose upper bits stand in the EDNS record (RFC 6891 §6.1.3)."""
_AUTHENTIC_DATA = 0x0020
_CHECKING_DISABLED = 0x0010
_MAX_RECORDS = 16
"""Records looked at before the EDNS record is found: a query has that, a signature, and in an update a few more."""

_LONGEST_NAME = 255
"""Bytes (RFC 1035 §2.3.4)."""

_question_tail = struct.Struct("!HH")
_record = struct.Struct("!HHIH")
"""RFC 1035 §4.1.3: type, class, TTL, length of the data; after the name."""


class Query(NamedTuple):
    """What has to be known of a query."""

    identifier: int
    flags: int
    question: bytes
    """The question section as it stands: name, type and class."""
    udp_size: int
    """The longest answer in bytes that the client takes over UDP."""
    edns: bytes
    """The EDNS record for an answer that is made here; empty when the query has none (RFC 6891 §7)."""
    edns_version: int = 0
    """Of the query's EDNS record; there is none but 0."""

    @property
    def name(self) -> bytes:
        """The wire name that is asked for, in the client's letters."""
        return self.question[:-4]

    @property
    def kind(self) -> int:
        """The type of record that is asked for."""
        return self.question[-4] << 8 | self.question[-3]

    @property
    def opcode(self) -> int:
        """What sort of query this is; 0 is the ordinary one (RFC 1035 §4.1.1)."""
        return self.flags >> 11 & 15

    @property
    def dnssec_ok(self) -> bool:
        """True if signatures are wanted (RFC 3225)."""
        return len(self.edns) > _DNSSEC_OK_AT and bool(self.edns[_DNSSEC_OK_AT] & 0x80)

    @property
    def checking_disabled(self) -> bool:
        """True if the client validates for itself (CD, RFC 4035 §3.2.2)."""
        return bool(self.flags & _CHECKING_DISABLED)

    @property
    def wants_authenticated(self) -> bool:
        """True if the client understands the AD bit (RFC 6840 §5.7)."""
        return bool(self.flags & _AUTHENTIC_DATA) or self.dnssec_ok


def parse_query_untrusted(message: Buffer) -> Query:
    """The query in a client's message. Raises BadPacket for anything but a query with one question."""
    if not HEADER.size <= len(message) <= MAX_QUERY:
        raise BadPacket(f"DNS query of {len(message)} bytes")
    identifier, flags, questions, *others = HEADER.unpack_from(message)
    if flags & _RESPONSE:
        raise BadPacket("DNS response where a query belongs")
    if questions != 1:  # RFC 9619 §4: one is all there can be
        raise BadPacket(f"DNS query with {questions} questions")
    end = name_end_untrusted(message, HEADER.size) + _question_tail.size
    if end - HEADER.size - _question_tail.size > _LONGEST_NAME:
        raise BadPacket("DNS name of more than 255 bytes")
    if end > len(message):
        raise BadPacket("DNS question is cut off")
    udp_size, edns, version = _MIN_UDP_SIZE, b"", 0
    at = end
    for _ in range(min(sum(others), _MAX_RECORDS)):
        start, at = at, name_end_untrusted(message, at)
        if at + _record.size > len(message):
            raise BadPacket("DNS record is cut off")
        kind, size, ttl, length = _record.unpack_from(message, at)
        at += _record.size + length
        if at > len(message):
            raise BadPacket("DNS record is cut off")
        if kind == OPT and message[start] == 0:
            udp_size = max(_MIN_UDP_SIZE, size)
            edns = b"\0" + _record.pack(OPT, udp_size, ttl & _DNSSEC_OK, 0)
            version = ttl >> 16 & 0xFF
            break
    return Query(identifier, flags, bytes(message[HEADER.size : end]), udp_size, edns, version)


def refusal_of_unread(message: Buffer) -> bytes | None:
    """The answer to a message that `parse_query_untrusted` refuses: FORMERR, or NOTIMP for another opcode.

    None for what is no query at all. It has no question: nobody could read one (RFC 1035 §4.1.1, RFC 9619 §4).
    """
    if len(message) < HEADER.size:
        return None
    identifier, flags, *_ = HEADER.unpack_from(message)
    if flags & _RESPONSE:
        return None
    code = NOT_IMPLEMENTED if flags >> 11 & 15 else FORMAT_ERROR
    return HEADER.pack(identifier, _RESPONSE | _RECURSION_AVAILABLE | flags & _KEPT_FLAGS | code, 0, 0, 0, 0)


def without_edns(query: bytes) -> bytes:
    """A query of our own as servers take it that do not know EDNS (RFC 6891 §7)."""
    end = name_end_untrusted(query, HEADER.size) + _question_tail.size
    return query[: HEADER.size - 2] + b"\0\0" + query[HEADER.size : end]


def padded(query: bytes) -> bytes:
    """A query of our own, made as long as most others (RFC 8467 §4.1): what is encrypted shows its length.

    One without an EDNS record at its end stays as it is: there is no place for padding (RFC 7830 §3).
    """
    if query[-_EDNS_SIZE : -_EDNS_SIZE + 3] != _EDNS_START or query[-2:] != b"\0\0":
        return query
    size = -(len(query) + _OPTION.size) % PADDED_TO
    return query[:-2] + (_OPTION.size + size).to_bytes(2, "big") + _OPTION.pack(_PADDING, size) + bytes(size)


def is_answer(message: Buffer, query: Query) -> bool:
    """Return True if a message from the resolver answers the query, leaving the identifier aside (RFC 5452 §9.1)."""
    if len(message) < HEADER.size:
        return False
    _, flags, questions, *_ = HEADER.unpack_from(message)
    if not flags & _RESPONSE:
        return False
    if questions == 0:  # a server that could not even read the question says so without it
        return bool(flags & 15)
    end = HEADER.size + len(query.question)
    question = bytes(message[HEADER.size : end])
    # Names compare without regard to case (RFC 1035 §2.3.3); the type and the class are bytes.
    return (
        questions == 1 and question[:-4].lower() == query.question[:-4].lower() and question[-4:] == query.question[-4:]
    )


def with_identifier(message: Buffer, identifier: int) -> bytes:
    """The message under another identifier."""
    return identifier.to_bytes(2, "big") + message[2:]


def failure(query: Query, code: int) -> bytes:
    """The answer that says why there is none: `SERVER_FAILURE` or `REFUSED`."""
    return _answer(query, _RECURSION_AVAILABLE | code)


def bad_version(query: Query) -> bytes:
    """The answer to a version of EDNS that nobody knows: BADVERS, and the one that we know (RFC 6891 §6.1.3)."""
    edns = b"\0" + _record.pack(OPT, query.udp_size, _BAD_VERSION, 0)
    return _answer(query._replace(edns=edns), _RECURSION_AVAILABLE)


def truncated(query: Query) -> bytes:
    """The answer that bids the client come again over TCP (RFC 2181 §9: nothing of a truncated answer is used)."""
    return _answer(query, _RECURSION_AVAILABLE | _TRUNCATED)


def _answer(query: Query, flags: int) -> bytes:
    flags |= _RESPONSE | query.flags & _KEPT_FLAGS
    header = HEADER.pack(query.identifier, flags, 1, 0, 0, 1 if query.edns else 0)
    return header + query.question + query.edns


def name_end_untrusted(message: Buffer, at: int) -> int:
    """Where the name at `at` ends. Raises BadPacket. A compressed name ends with its pointer, which is not followed."""
    for _ in range(128):  # RFC 1035 §2.3.4: 255 bytes, so 127 labels and the root
        if at >= len(message):
            break
        length = message[at]
        if length == 0:
            return at + 1
        if length & 0xC0 == 0xC0:
            return at + 2
        if length & 0xC0:
            raise BadPacket(f"DNS label of type {length >> 6}")
        at += 1 + length
    raise BadPacket("DNS name is cut off or has no end")


def frame(message: Buffer) -> bytes:
    """The message as it goes over TCP: its length in two bytes before it (RFC 1035 §4.2.2)."""
    return len(message).to_bytes(2, "big") + message


class Deframer:
    """Cuts a TCP stream into messages; holds less than one of them (64 KB)."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, data: Buffer) -> list[bytes]:
        """The messages that `data` completes, oldest first."""
        buffer = self._buffer
        buffer += data
        messages: list[bytes] = []
        at = 0
        while len(buffer) - at >= 2:
            end = at + 2 + int.from_bytes(buffer[at : at + 2], "big")
            if end > len(buffer):
                break
            messages.append(bytes(buffer[at + 2 : end]))
            at = end
        del buffer[:at]
        return messages
