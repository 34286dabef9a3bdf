"""DNS messages as a forwarder sees them: the header, the question and the EDNS record, and nothing else. Pure.

Rules: a message is passed on as it came but for its identifier, so whatever a client and its resolver agree on (DNSSEC,
cookies, new types) works; answers that have to be made here are the two smallest, "failed" and "come again by TCP".

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

SERVER_FAILURE = 2
REFUSED = 5
"""RFC 1035 §4.1.1: response codes."""

_RESPONSE = 0x8000
_TRUNCATED = 0x0200
_RECURSION_AVAILABLE = 0x0080
_KEPT_FLAGS = 0x7910
"""What an answer repeats of its query's flags: opcode and RD (RFC 1035 §4.1.1), CD (RFC 4035 §3.2.2)."""

_MIN_UDP_SIZE = 512
"""RFC 1035 §2.3.4 without EDNS; RFC 6891 §6.2.3: smaller values are to be treated as 512."""
_OPT = 41
_DNSSEC_OK = 0x8000
_MAX_RECORDS = 16
"""Records looked at before the EDNS record is found: a query has that, a signature, and in an update a few more."""

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


def parse_query_untrusted(message: Buffer) -> Query:
    """The query in a client's message. Raises BadPacket for anything but a query with one question."""
    if not HEADER.size <= len(message) <= MAX_QUERY:
        raise BadPacket(f"DNS query of {len(message)} bytes")
    identifier, flags, questions, *others = HEADER.unpack_from(message)
    if flags & _RESPONSE:
        raise BadPacket("DNS response where a query belongs")
    if questions != 1:  # RFC 9619 §4: one is all there can be
        raise BadPacket(f"DNS query with {questions} questions")
    end = _name_end_untrusted(message, HEADER.size) + _question_tail.size
    if end > len(message):
        raise BadPacket("DNS question is cut off")
    udp_size, edns = _MIN_UDP_SIZE, b""
    at = end
    for _ in range(min(sum(others), _MAX_RECORDS)):
        start, at = at, _name_end_untrusted(message, at)
        if at + _record.size > len(message):
            raise BadPacket("DNS record is cut off")
        kind, size, ttl, length = _record.unpack_from(message, at)
        at += _record.size + length
        if at > len(message):
            raise BadPacket("DNS record is cut off")
        if kind == _OPT and message[start] == 0:
            udp_size = max(_MIN_UDP_SIZE, size)
            edns = b"\0" + _record.pack(_OPT, udp_size, ttl & _DNSSEC_OK, 0)
            break
    return Query(identifier, flags, bytes(message[HEADER.size : end]), udp_size, edns)


def is_answer(message: Buffer, query: Query) -> bool:
    """Whether a message from the resolver answers the query, leaving the identifier aside (RFC 5452 §9.1)."""
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


def truncated(query: Query) -> bytes:
    """The answer that bids the client come again over TCP (RFC 2181 §9: nothing of a truncated answer is used)."""
    return _answer(query, _RECURSION_AVAILABLE | _TRUNCATED)


def _answer(query: Query, flags: int) -> bytes:
    flags |= _RESPONSE | query.flags & _KEPT_FLAGS
    header = HEADER.pack(query.identifier, flags, 1, 0, 0, 1 if query.edns else 0)
    return header + query.question + query.edns


def _name_end_untrusted(message: Buffer, at: int) -> int:
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
