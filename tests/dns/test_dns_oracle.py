"""Our walk through messages beside dnspython's objects, on messages that dnspython wrote from random records."""

from __future__ import annotations

from ipaddress import ip_address

import dns.message
import dns.rrset
from dns_world import query
from hypothesis import given
from hypothesis import strategies as st

from tunflow.dns.answers import addresses_untrusted, lifetime, parse_answer_untrusted
from tunflow.dns.cache import CachedAnswer
from tunflow.dns.messages import parse_query_untrusted

names = st.sampled_from(["www.example.org.", "a.example.org.", "b.example.net.", "c.test.", "."])
ttls = st.integers(1, 100_000)
data = st.one_of(
    st.tuples(st.just("A"), st.ip_addresses(v=4).map(str)),
    st.tuples(st.just("AAAA"), st.ip_addresses(v=6).map(str)),
    st.tuples(st.just("CNAME"), names),
    st.tuples(st.just("MX"), names.map(lambda name: f"10 {name}")),
    st.tuples(st.just("TXT"), st.text("abc ", max_size=200).map(lambda text: f'"{text}"')),
    st.tuples(st.just("SOA"), names.map(lambda name: f"{name} {name} 1 2 3 4 77")),
)
sections = st.lists(st.tuples(names, ttls, data), max_size=8)


def message(answers, authorities, additionals, edns: bool) -> bytes:
    made = dns.message.make_response(dns.message.from_wire(query(use_edns=0 if edns else -1)))
    for section, records in ((made.answer, answers), (made.authority, authorities), (made.additional, additionals)):
        for name, ttl, (kind, text) in records:
            section.append(dns.rrset.from_text(name, ttl, "IN", kind, text))
    return made.to_wire(max_size=65535)


def records_of(found: dns.message.Message) -> list[tuple[str, int, str]]:
    """Each record of all sections: name, TTL, the rest."""
    return [
        (str(rrset.name), rrset.ttl, record.to_text())
        for section in (found.answer, found.authority, found.additional)
        for rrset in section
        for record in rrset
    ]


@given(sections, sections, sections, st.booleans())
def test_the_walk_finds_what_dnspython_wrote(answers, authorities, additionals, edns):
    wire = message(answers, authorities, additionals, edns)
    answer = parse_answer_untrusted(wire)
    expected = dns.message.from_wire(wire, one_rr_per_rrset=True)
    assert [record.ttl for record in answer.records] == [ttl for _, ttl, _ in records_of(expected)]
    found = {bytes(each) for each in addresses_untrusted(answer)}
    wanted = {"www.example.org."}
    for _ in range(9):  # the closure of the aliases, the naive way
        wanted |= {text for name, _, (kind, text) in answers if kind == "CNAME" and name in wanted}
    naive = [text for name, _, (kind, text) in answers if kind in {"A", "AAAA"} and name in wanted]
    assert found == {ip_address(text).packed for text in naive}


@given(sections, sections, sections, st.booleans(), st.integers(0, 200_000), st.booleans())
def test_what_is_kept_and_given_out_again_differs_in_its_lives_only(
    answers, authorities, additionals, edns, age, client_edns
):
    wire = message(answers, authorities, additionals, edns)
    answer = parse_answer_untrusted(wire)
    life = lifetime(answer)
    entry = CachedAnswer(answer, 1 << 30, 0.0)
    client = parse_query_untrusted(query(identifier=9, use_edns=0 if client_edns else -1))
    told = dns.message.from_wire(entry.reply(client, float(age)), one_rr_per_rrset=True)
    expected = dns.message.from_wire(wire, one_rr_per_rrset=True)
    assert records_of(told) == [(name, max(0, ttl - age), text) for name, ttl, text in records_of(expected)]
    assert (told.id, told.edns >= 0, told.rcode()) == (9, client_edns, expected.rcode())
    if life is not None and answers:
        assert life <= min(ttl for _, ttl, _ in answers)
