"""ChinaDNS's mutation there and back; dnspython reads both forms."""

from __future__ import annotations

import dns.message
from dns_world import answer, query

from tunflow.dns.messages import parse_query_untrusted
from tunflow.dns.mutation import is_mutated, mutated, restored_untrusted


def test_a_mutated_query_reads_as_the_same_name():
    plain = query("www.example.org", identifier=0, use_edns=0)
    changed = mutated(plain)
    assert len(changed) == len(plain) + 1
    assert b"\3org\xc0\4\0\1\0\1" in changed
    # dnspython follows the pointer to the zero byte of QDCOUNT, as a resolver does.
    assert str(dns.message.from_wire(changed).question[0].name) == "www.example.org."


def test_an_answer_that_repeats_the_pointer_is_restored():
    plain = query("www.example.org", identifier=5)
    records = ["www.example.org 60 CNAME a.example.org.", "a.example.org 60 A 192.0.2.1"]
    soa = "example.org 60 SOA ns.example.org. host.example.org. 1 2 3 4 5"
    told = answer(plain, *records, authority=[soa, "example.org 60 NS ns.example.org."])
    # What dnsmasq does: its answer begins as the query did. dnspython's compression is made anew for it.
    wanted = dns.message.from_wire(told)
    name = parse_query_untrusted(plain).name
    uncompressed = restored_untrusted(told)
    end = 12 + len(name)
    echoed = uncompressed[: end - 1] + b"\xc0\x04" + uncompressed[end:]
    assert is_mutated(echoed, name)
    assert not is_mutated(told, name)
    found = dns.message.from_wire(restored_untrusted(echoed))
    assert (found.question, found.answer, found.authority) == (wanted.question, wanted.answer, wanted.authority)
