"""Names that never leave, answers about something else, and servers without EDNS (RFC 6761, 6303, 7686, 8375)."""

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest
from dns_world import answer
from test_dns_resolver import CLIENT, World

from tunflow.dns.answers import AAAA, HTTPS, NS, PTR, A
from tunflow.dns.chinadns import FOREIGN, ChinaDNS
from tunflow.dns.chinadns_ng import ChinaDNSNG
from tunflow.dns.real_names import is_real_by_nature
from tunflow.dns.resolver_plan import ResolverPlan
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
    world = World(ResolverPlan(OneGroup("servers"), stays=stays_here))
    world.query("abc.onion")
    assert world.last.rcode() == dns.rcode.NXDOMAIN
    world.query("foo.localhost")
    assert world.found == ["127.0.0.1"]
    world.query("foo.localhost", "AAAA")
    assert world.found == ["::1"]
    for name in ("1.0.0.127.in-addr.arpa", f"1.{'0.' * 31}ip6.arpa"):
        world.query(name, "PTR")
        assert world.found == ["localhost."]
    assert not world.asks


@pytest.mark.parametrize(("name", "is_real"), [("www.example", False), ("a.test", True), ("ntp.org", True)])
def test_names_below_example_are_not_special_to_a_resolver(name, is_real):
    assert is_real_by_nature(name) is is_real  # RFC 6761 §6.5


@pytest.mark.parametrize("ttl", [0, 0x80000005])
def test_an_answer_without_a_life_is_for_whoever_waits(ttl):
    world = World()
    world.query("www.example.org")
    message = answer(world.asks[0].message, "www.example.org 77 A 192.0.2.7")
    world.asks[0].heard(message.replace(b"\0\0\0\x4d", ttl.to_bytes(4, "big")), "server", world.now)
    assert world.found == ["192.0.2.7"]
    assert world.last.answer[0].ttl == 0
    world.query("www.example.org")
    assert len(world.asks) == 2, "it is kept for nobody else"


def test_names_of_records_are_spelt_as_the_client_does():
    world = World()
    world.query("wWw.Example.org")
    asked = world.asks[0].message
    name = b"\3WWW\7example\3org\0"
    header = asked[:2] + b"\x81\x80\0\1\0\2\0\0\0\0"
    records = [
        owner + b"\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2" + last for owner, last in ((name, b"\1"), (b"\xc0\x0c", b"\2"))
    ]
    world.asks[0].heard(header + asked[12:33] + b"".join(records), "server", world.now)
    assert world.found == ["192.0.2.1", "192.0.2.2"]
    assert world.answers[-1].count(b"\3wWw\7Example\3org\0") == 2
    assert b"WWW" not in world.answers[-1]


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
    assert world.resolver.seen.names_of(CLIENT, bytes([192, 0, 2, 10]), world.now) == ("www.example.org",)


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
    plan = ResolverPlan(ChinaDNSNG(lambda _: True, blacklisted=lambda address: address == bytes([31, 13, 70, 13])))
    world = World(plan)
    world.query("www.example.org", "HTTPS")
    world.reply("www.example.org 60 HTTPS 1 . alpn=h2 ipv4hint=31.13.70.13")
    assert not world.answers
