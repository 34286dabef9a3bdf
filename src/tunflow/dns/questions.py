"""Questions: a client's, read once, and the one that goes out for it.

What goes out is a query of our own (RD, the client's DO and CD, EDNS with `EDNS_SIZE`), never the client's bytes:
options that bind two neighbours (cookies, client subnet) end here. Read first: RFC 1035 §4, RFC 6891, RFC 6840 §5.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, Self

from tunflow.dns.answers import IN
from tunflow.dns.cache import Key, key_of
from tunflow.dns.messages import HEADER, Query, parse_query_untrusted
from tunflow.dns.names import text_of, wire_of
from tunflow.endpoint import Buffer

EDNS_SIZE = 1232
"""Bytes. What passes without fragments almost everywhere (DNS flag day 2020; RFC 9715 §3.1 advises 1400 at most)."""

_edns = b"\0" + (41).to_bytes(2, "big") + EDNS_SIZE.to_bytes(2, "big") + bytes(2)


class DNSSEC(Enum):
    """What becomes of signatures."""

    PASS = "pass"  # noqa: S105 (no password)
    """Who asks for them gets them, and what the resolver says of them."""
    VALIDATE = "validate"
    """They are checked here, and an answer with wrong ones is none."""
    OFF = "off"
    """Nobody is asked for them."""


class ClientQuery(NamedTuple):
    """A client's query, read once where it came in."""

    query: Query
    key: Key
    """What an answer is kept under."""
    name: str
    """The name that is asked for, in lower case, as text."""

    @classmethod
    def of_untrusted(cls, message: Buffer) -> Self:
        """Read a client's message. Raises BadPacket for anything but a query with one question."""
        query = parse_query_untrusted(message)
        key = key_of(query)
        return cls(query, key, text_of(key[0]))


def query_of(query: Query, dnssec: DNSSEC = DNSSEC.PASS) -> bytes:
    """The query that goes out for a client's: the same question, with what changes the answer."""
    flags = 0x0100 | query.flags & 0x0010 | 0x0020  # RD; CD as the client has it; AD: we understand it (RFC 6840 §5.7)
    signatures = query.dnssec_ok and dnssec is not DNSSEC.OFF
    if dnssec is DNSSEC.VALIDATE:
        flags |= 0x0010  # what is wrong is ours to find
        signatures = True
    record = _edns + (b"\x80\0" if signatures else b"\0\0") + b"\0\0"
    return HEADER.pack(0, flags, 1, 0, 0, 1) + query.name.lower() + query.question[-4:] + record


def question(name: str, kind: int) -> bytes:
    """A client's query for `name`, as `tunflow explain` and the tunnel itself ask."""
    return HEADER.pack(0, 0x0100, 1, 0, 0, 0) + wire_of(name) + kind.to_bytes(2, "big") + IN.to_bytes(2, "big")
