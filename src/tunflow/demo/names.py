"""The one name of the demo and the addresses behind it, and the DNS answers that tell so; pure.

The addresses are of the ranges for documentation (RFC 5737 TEST-NET-2, RFC 3849) and the name of the domain for tests
(RFC 6761): nobody is there, so whatever arrives came through the tunnel.

Read first: RFC 1035 §4.1.
"""

from __future__ import annotations

import struct

from tunflow.addresses import ip_address

NAME = "demo.tunflow.example"
SITE4 = "198.51.100.80"
SITE6 = "2001:db8::80"
RESOLVER = "198.51.100.53"

_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!HHHIH")
_QNAME = b"".join(bytes((len(label),)) + label.encode() for label in NAME.split(".")) + b"\0"
_ADDRESSES = {1: ip_address(SITE4).packed, 28: ip_address(SITE6).packed}
"""By QTYPE: A (RFC 1035 §3.2.2) and AAAA (RFC 3596 §2.1)."""

_ANSWER, _AUTHORITATIVE, _ASKED_TO_RECURSE = 0x8000, 0x0400, 0x0100
_NAME_ERROR, _FORMAT_ERROR = 3, 1
_POINTER_TO_QUESTION = 0xC00C
"""RFC 1035 §4.1.4: the name at offset 12, where the question is."""

TTL_SECONDS = 60


def answer(query: bytes) -> bytes:
    """The answer to a query; a format error for what is none."""
    if len(query) < _HEADER.size:
        return _HEADER.pack(0, _ANSWER | _FORMAT_ERROR, 0, 0, 0, 0)
    identifier, flags, questions, *_ = _HEADER.unpack_from(query)
    reply = _ANSWER | _AUTHORITATIVE | flags & _ASKED_TO_RECURSE
    end = query.find(b"\0", _HEADER.size) + 5
    if questions != 1 or not _HEADER.size + 5 <= end <= len(query):
        return _HEADER.pack(identifier, reply | _FORMAT_ERROR, 0, 0, 0, 0)
    question = query[_HEADER.size : end]
    if question[:-4].lower() != _QNAME:
        return _HEADER.pack(identifier, reply | _NAME_ERROR, 1, 0, 0, 0) + question
    address = _ADDRESSES.get(int.from_bytes(question[-4:-2], "big"), b"")
    if not address:
        return _HEADER.pack(identifier, reply, 1, 0, 0, 0) + question
    kind, klass = struct.unpack("!HH", question[-4:])
    record = _RECORD.pack(_POINTER_TO_QUESTION, kind, klass, TTL_SECONDS, len(address)) + address
    return _HEADER.pack(identifier, reply, 1, 1, 0, 0) + question + record
