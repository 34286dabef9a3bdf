"""Messages and a resolver's surroundings for tests; dnspython, which shares no code with ours, makes the messages."""

from __future__ import annotations

from ipaddress import ip_address

import dns.flags
import dns.message
import dns.rrset

from tunflow.dns.answers import Answer, parse_answer_untrusted
from tunflow.dns.selection import Reply


def query(name="www.example.org", kind="A", identifier=1, **options) -> bytes:
    made = dns.message.make_query(name, kind, **options)
    made.id = identifier
    return made.to_wire()


def answer(asked: bytes, *records: str, authority=(), additional=(), code=0, edns=True) -> bytes:
    """A response to `asked`; records as `name ttl type data`."""
    question = dns.message.from_wire(asked)
    made = dns.message.make_response(question, recursion_available=True)
    if edns:
        made.use_edns(0, payload=1232)
    made.set_rcode(code)
    for section, texts in ((made.answer, records), (made.authority, authority), (made.additional, additional)):
        for text in texts:
            name, ttl, kind, data = text.split(None, 3)
            section.append(dns.rrset.from_text(name + ".", int(ttl), "IN", kind, data))
    return made.to_wire(max_size=65535)


def parsed(asked: bytes, *records: str, **options) -> Answer:
    return parse_answer_untrusted(answer(asked, *records, **options))


def packed(*texts: str) -> tuple[bytes, ...]:
    return tuple(ip_address(text).packed for text in texts)


def reply(group: str, *addresses: str, server: str | None = None, kind: str = "A", name: str = "a.test") -> Reply:
    """A reply with addresses (a name among them is an alias that leads to the next)."""
    records = []
    owner = name
    for address in addresses:
        if address[0].isdigit() or ":" in address:
            records.append(f"{owner} 60 {'AAAA' if ':' in address else 'A'} {address}")
        else:
            records.append(f"{owner} 60 CNAME {address}.")
            owner = address
    found = tuple(ip_address(each).packed for each in addresses if each[0].isdigit() or ":" in each)
    return Reply(parsed(query(name, kind), *records), found, group, server or group)


def text(message: bytes) -> dns.message.Message:
    return dns.message.from_wire(message)
