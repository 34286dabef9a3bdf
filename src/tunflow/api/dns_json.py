"""An answer of the name server as JSON, in the words that resolvers with a JSON API share with Clash."""

from __future__ import annotations

from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.rdatatype

from tunflow.errors import BadPacket, LocalError


def record_type(text: str) -> int:
    """The number of a record type, by its name. Raises LocalError."""
    try:
        return int(dns.rdatatype.from_text(text or "A"))
    except (dns.rdatatype.UnknownRdatatype, ValueError):
        raise LocalError(f"type: {text[:20]!r} is no record type, such as A, AAAA or TXT") from None


def answer_untrusted(message: bytes) -> dict[str, Any]:
    """What an answer says. Raises BadPacket."""
    try:
        found = dns.message.from_wire(message)
    except (dns.exception.DNSException, ValueError):
        raise BadPacket("the answer cannot be read") from None
    flags = {name: bool(found.flags & dns.flags.from_text(name)) for name in ("TC", "RD", "RA", "AD", "CD")}
    questions = [
        {"Name": str(each.name), "Qtype": int(each.rdtype), "Qclass": int(each.rdclass)} for each in found.question
    ]
    records = [
        {"name": str(each.name), "type": int(each.rdtype), "TTL": each.ttl, "data": record.to_text()}
        for each in found.answer
        for record in each
    ]
    return {"Status": int(found.rcode()), **flags, "Question": questions, "Answer": records}
