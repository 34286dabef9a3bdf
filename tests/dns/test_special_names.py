"""Names that never leave, answers about something else, and servers without EDNS (RFC 6761, 6303, 7686, 8375)."""

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest
from test_dns_resolver import CLIENT, World

from tunflow.dns.answers import AAAA, HTTPS, NS, PTR, A
from tunflow.dns.chinadns import FOREIGN, ChinaDNS
from tunflow.dns.chinadns_ng import ChinaDNSNG
from tunflow.dns.resolver import Plan
from tunflow.dns.selection import OneGroup
from tunflow.dns.special_names import stays_here


@pytest.mark.parametrize(
    "name",
    [
        *("nas", "localhost", "a.localhost", "x.onion", "a.invalid", "a.b.test", "printer.local", "tv.home.arpa"),
        *("1.1.168.192.in-addr.arpa", "168.192.in-addr.arpa", "1.0.0.10.in-addr.arpa", "9.31.172.in-addr.arpa"),
        *("1.0.0.127.in-addr.arpa", "1.64.100.in-addr.arpa", f"1.{'0.' * 31}ip6.arpa", "1.d.f.ip6.arpa"),
    ],
)
def test_what_never_leaves(name):
    assert stays_here(name, PTR)


@pytest.mark.parametrize(
    "name", ["www.example", "a.example.org", "8.8.8.8.in-addr.arpa", "1.32.172.in-addr.arpa", "xtest.org", "onion.org"]
)
def test_what_leaves(name):
    assert not stays_here(name, A)


def test_a_top_level_domain_is_asked_about_itself_and_the_root():
    assert not stays_here("org", NS)
    assert not stays_here("", NS)
    assert stays_here("org", A)


def test_names_that_stay_do_not_exist_and_nobody_is_asked():
    world = World(Plan(OneGroup("servers"), stays=stays_here))
    world.query("abc.onion")
    assert world.last.rcode() == dns.rcode.NXDOMAIN
    world.query("foo.localhost")
    assert world.found == ["127.0.0.1"]
    world.query("foo.localhost", "AAAA")
    assert world.found == ["::1"]
    assert not world.asks


@pytest.mark.parametrize("code", [dns.rcode.FORMERR, dns.rcode.NOTIMP])
def test_a_server_without_edns_is_asked_again_without(code):
    world = World()
    world.query("www.example.org")
    world.reply(code=code, edns=False)
    assert not world.answers
    again = dns.message.from_wire(world.asks[1].message)
    assert again.edns == -1
    world.asks[0].ended("closed", world.now)
    world.reply("www.example.org 0 A 192.0.2.7", edns=False)
    assert world.found == ["192.0.2.7"]
    assert world.last.answer[0].ttl == 0
    world.query("www.example.org")
    assert len(world.asks) == 3, "an answer with TTL 0 is for whoever waits, and nobody else"


def test_a_server_that_refuses_twice_has_answered():
    world = World()
    world.query("www.example.org")
    world.reply(code=dns.rcode.FORMERR, edns=False)
    world.reply(code=dns.rcode.FORMERR, edns=False)
    assert len(world.asks) == 2
    assert world.answers


def test_an_answer_with_records_of_another_type_is_none():
    world = World()
    world.query("www.example.org", "HTTPS")
    world.reply("www.example.org 60 A 31.13.70.13")
    assert not world.answers
    assert world.resolver.dropped == 1
    world.reply("www.example.org 60 HTTPS 1 . alpn=h2 ipv4hint=192.0.2.9")
    assert len(world.last.answer) == 1


def test_the_addresses_that_a_record_hints_at_are_the_names():
    world = World()
    world.query("www.example.org", "HTTPS")
    world.reply("www.example.org 60 HTTPS 1 . alpn=h2 ipv4hint=192.0.2.9,192.0.2.10 ipv6hint=2001:db8::1")
    assert world.resolver.seen.name_of(CLIENT, bytes([192, 0, 2, 10]), world.now) == "www.example.org"


def test_an_unknown_version_of_edns_is_told():
    world = World()
    world.query("www.example.org", use_edns=1)
    assert world.last.rcode() == dns.rcode.BADVERS
    assert world.last.edns == 0
    assert not world.asks


@pytest.mark.parametrize("selector", [ChinaDNSNG(lambda _: True), ChinaDNS(lambda _: True)])
def test_types_without_addresses_are_asked_for_abroad_only(selector):
    assert selector.select("www.example", HTTPS, 0.0).groups == (FOREIGN,)
    assert len(selector.select("www.example", AAAA, 0.0).groups) == 2


def test_hints_are_judged_by_the_blacklist():
    plan = Plan(ChinaDNSNG(lambda _: True, blacklisted=lambda address: address == bytes([31, 13, 70, 13])))
    world = World(plan)
    world.query("www.example.org", "HTTPS")
    world.reply("www.example.org 60 HTTPS 1 . alpn=h2 ipv4hint=31.13.70.13")
    assert not world.answers
