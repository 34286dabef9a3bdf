"""Answers: what dnspython writes is read alike, and hostile ones are refused in time."""

from __future__ import annotations

import dns.message
import pytest
from dns_world import answer, packed, parsed, query
from hypothesis import given
from hypothesis import strategies as st

from cost import lines_executed
from tunflow.dns.answers import addresses_untrusted, lifetime, parse_answer_untrusted
from tunflow.dns.messages import HEADER
from tunflow.dns.names import name_untrusted, reverse_address, text_of, wire_of
from tunflow.dns.replies import body_of
from tunflow.errors import BadPacket, LocalError

SOA = "example.org 900 SOA ns.example.org. host.example.org. 1 2 3 4 300"


def test_addresses_follow_the_aliases_whatever_their_order():
    records = [
        "www.example.org 300 CNAME a.example.net.",
        "a.example.net 60 A 192.0.2.1",
        "a.example.net 60 A 192.0.2.2",
    ]
    for order in (records, records[::-1]):
        assert set(addresses_untrusted(parsed(query(), *order))) == set(packed("192.0.2.1", "192.0.2.2"))


def test_addresses_of_other_names_are_not_believed():
    # RFC 5452 §6: what the question does not lead to.
    found = parsed(query(), "www.example.org 60 A 192.0.2.1", "bank.example 60 A 203.0.113.66")
    assert addresses_untrusted(found) == list(packed("192.0.2.1"))
    found = parsed(query(), additional=["www.example.org 60 A 203.0.113.66"])
    assert addresses_untrusted(found) == []


@pytest.mark.parametrize(
    ("records", "options", "life"),
    [
        (["www.example.org 300 CNAME b.test.", "b.test 60 A 192.0.2.1"], {}, 60),  # RFC 2181 §5.2
        ([], {"authority": [SOA]}, 300),  # RFC 2308 §5: the MINIMUM field
        ([], {"authority": [SOA.replace("900", "20", 1)]}, 20),  # or the TTL, whichever is less
        ([], {"authority": [SOA], "code": 3}, 300),
        ([], {}, None),  # RFC 2308 §5: without an SOA it should not be cached
        (["www.example.org 50 CNAME b.test."], {"authority": [SOA]}, 50),
        (["www.example.org 60 A 192.0.2.1"], {"code": 2}, None),
    ],
)
def test_lifetime(records, options, life):
    assert lifetime(parsed(query(), *records, **options)) == life


def test_a_truncated_answer_is_not_kept():
    message = bytearray(answer(query(), "www.example.org 60 A 192.0.2.1"))
    message[2] |= 2
    assert lifetime(parse_answer_untrusted(bytes(message))) is None


def test_a_kept_body_has_no_edns_record_wherever_it_was():
    with_edns = answer(query(), "www.example.org 60 A 192.0.2.1", additional=["ns.test 60 A 192.0.2.9"])
    body = dns.message.from_wire(body_of(parse_answer_untrusted(with_edns)))
    assert body.edns == -1
    assert [str(each) for each in body.additional] == ["ns.test. 60 IN A 192.0.2.9"]
    # RFC 6891 §6.1.1: it may stand anywhere among the additional records.
    edns = with_edns[-11:]
    extra = b"\2ns\0\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\x09"
    head = answer(query(), "www.example.org 60 A 192.0.2.1")[:-11]
    moved = head[:10] + b"\0\2" + head[12:] + edns + extra
    body = dns.message.from_wire(body_of(parse_answer_untrusted(moved)))
    assert (body.edns, body.additional, len(body.answer)) == (-1, [], 1)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        bytes(12),
        query(),
        answer(query(), "www.example.org 60 A 192.0.2.1")[:-12],
        answer(query(), "www.example.org 60 A 192.0.2.1", edns=False)[:-1],
        HEADER.pack(0, 0x8180, 1, 65535, 65535, 65535) + b"\0\0\1\0\1",
        HEADER.pack(0, 0x8180, 1, 0, 0, 0) + b"\0\0",
        HEADER.pack(0, 0x8180, 2, 0, 0, 0) + b"\0\0\1\0\1" * 2,
    ],
)
def test_what_does_not_hold_what_it_promises_is_refused(message):
    with pytest.raises(BadPacket):
        parse_answer_untrusted(message)


def test_an_address_record_of_another_size_is_refused():
    message = answer(query(), "www.example.org 60 A 192.0.2.1", edns=False)
    with pytest.raises(BadPacket):
        parse_answer_untrusted(message[:-6] + b"\0\3" + message[-4:-1])


@pytest.mark.parametrize("pointer", [b"\xc0\x0c", b"\xc0\x0e", b"\xff\xff"])
def test_a_pointer_that_does_not_lead_backwards_is_refused(pointer):
    with pytest.raises(BadPacket):
        name_untrusted(bytes(12) + pointer + b"\0\0", 12)


def test_an_answer_full_of_aliases_and_pointers_costs_little():
    # 64 KB in which every record is an alias, and its data a pointer to the pointer of the one before.
    body = bytearray(HEADER.pack(0, 0x8180, 1, 0, 0, 0) + b"\1a\0\0\1\0\1")
    records = 0
    while len(body) < 65000:
        before = min(len(body) - 2, 0x3FFF)
        body += b"\xc0\x0c" + b"\0\5\0\1\0\0\0\1\0\2" + (0xC000 | before).to_bytes(2, "big")
        records += 1
    body[6:8] = records.to_bytes(2, "big")

    def read():
        with pytest.raises(BadPacket, match="pointer"):
            addresses_untrusted(parse_answer_untrusted(bytes(body)))

    assert lines_executed(read) < 100 * records


@given(st.lists(st.from_regex(r"[a-z0-9_-]{1,20}", fullmatch=True), min_size=1, max_size=8))
def test_names_survive_the_way_there_and_back(labels):
    name = ".".join(labels)
    assert text_of(wire_of(name)) == name
    assert name_untrusted(b"x" + wire_of(name), 1) == wire_of(name)
    assert dns.name.from_wire(wire_of(name), 0)[0].to_text(omit_final_dot=True) == name


@pytest.mark.parametrize("name", ["a" * 64 + ".org", "a..b", ".".join(["a" * 60] * 5)])
def test_what_is_no_name_is_a_local_error(name):
    with pytest.raises(LocalError, match="host name"):
        wire_of(name)


def test_reverse_names():
    assert reverse_address(wire_of("4.3.2.1.in-addr.arpa")) == bytes([1, 2, 3, 4])
    nibbles = ".".join(reversed("20010db8" + "0" * 23 + "1"))
    assert reverse_address(wire_of(f"{nibbles}.ip6.arpa")) == packed("2001:db8::1")[0]
    for other in ("3.2.1.in-addr.arpa", "x.3.2.1.in-addr.arpa", "999.3.2.1.in-addr.arpa", "1.ip6.arpa", "example.org"):
        assert reverse_address(wire_of(other)) is None
