"""The resolver as a table of queries, replies and times."""

from __future__ import annotations

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.reversename
import pytest
from dns_world import answer, packed, query, text
from signed_world import NOW, Signed

from tunflow.dns.answers import AAAA
from tunflow.dns.cache import Cache
from tunflow.dns.fake_ip import FakeIPMap
from tunflow.dns.public_resolvers import known_resolvers
from tunflow.dns.questions import DNSSEC, ClientQuery
from tunflow.dns.resolver import LOOKUP_TIME, MOST_LOOKUPS, MOST_WAITING, STALE_AFTER, Resolver
from tunflow.dns.resolver_plan import ResolverPlan
from tunflow.dns.selection import OneGroup, Routes
from tunflow.dns.validation import Signatures, Validator
from tunflow.errors import BadPacket

CLIENT = packed("198.18.0.1")[0]
REAL = "www.example.org 100 A 192.0.2.1"


class Ask:
    def __init__(self, group, message, heard, ended):
        self.group, self.message, self.heard, self.ended = group, message, heard, ended
        self.cancelled = False


class World:
    def __init__(self, plan: ResolverPlan | None = None, fake: FakeIPMap | None = None) -> None:
        self.now = 1000.0
        self.asks: list[Ask] = []
        self.answers: list[bytes] = []
        self.resolver = Resolver(self, plan or ResolverPlan(OneGroup("servers")), Cache(), fake)

    def ask(self, group, message, heard, ended):
        made = Ask(group, message, heard, ended)
        self.asks.append(made)

        def cancel():
            made.cancelled = True

        return cancel

    def query(self, *given, over_tcp=False, **options):
        self.resolver.query(
            ClientQuery.of_untrusted(query(*given, **options)), CLIENT, over_tcp, self.answers.append, self.now
        )

    def reply(self, *records, ask=-1, **options):
        made = self.asks[ask]
        made.heard(answer(made.message, *records, **options), "resolver", self.now)

    def wait(self, seconds):
        self.now += seconds
        while (due := self.resolver.next_timeout()) is not None and due <= self.now:
            self.resolver.handle_timeout(self.now)

    @property
    def last(self):
        return text(self.answers[-1])

    @property
    def found(self):
        return [str(record) for rrset in self.last.answer for record in rrset]


@pytest.fixture
def world():
    return World()


def test_what_goes_out_is_our_own_query(world):
    world.query(
        "WWW.example.org", identifier=77, use_edns=0, want_dnssec=True, options=[dns.edns.ECSOption("192.0.2.0")]
    )
    asked = text(world.asks[0].message)
    assert str(asked.question[0].name) == "www.example.org."
    assert (asked.id, asked.payload, asked.options) == (0, 1232, ())
    assert asked.ednsflags & dns.flags.DO
    assert asked.flags & dns.flags.RD


def test_an_answer_reaches_all_who_wait_each_in_its_own_words(world):
    world.query(identifier=1)
    world.query("WWW.EXAMPLE.org", identifier=2)
    assert len(world.asks) == 1
    world.reply(REAL)
    first, second = map(text, world.answers)
    assert (first.id, second.id) == (1, 2)
    assert str(second.question[0].name) == "WWW.EXAMPLE.org."
    assert world.asks[0].cancelled
    world.query(identifier=3)
    assert (len(world.asks), world.last.id) == (1, 3)


def test_the_name_of_an_address_is_remembered(world):
    world.query()
    world.reply("www.example.org 100 CNAME b.test.", "b.test 100 A 192.0.2.1")
    assert world.resolver.seen.names_of(CLIENT, packed("192.0.2.1")[0], world.now) == ("www.example.org",)
    assert world.resolver.seen.names_of(b"else", packed("192.0.2.1")[0], world.now) == ()


def test_an_answer_too_long_for_udp_is_truncated_and_whole_over_tcp(world):
    records = [f"www.example.org 100 A 192.0.2.{number}" for number in range(100)]
    world.query()
    world.reply(*records)
    assert world.last.flags & dns.flags.TC
    world.query(over_tcp=True)
    assert len(world.found) == 100


def test_a_hostile_reply_is_dropped_and_the_real_one_taken(world):
    world.query()
    real = answer(world.asks[0].message, REAL)
    for bad in (b"", real[:-20], real[:4] + b"\0\2" + real[6:]):
        world.asks[0].heard(bad, "resolver", world.now)
    assert (world.answers, world.resolver.dropped) == ([], 3)
    world.asks[0].heard(real, "resolver", world.now)
    assert world.found == ["192.0.2.1"]


def test_a_failure_is_told_and_remembered_for_a_moment(world):
    world.query()
    world.asks[0].ended("refused", world.now)
    assert world.last.rcode() == dns.rcode.SERVFAIL
    world.query()
    assert (len(world.asks), len(world.answers)) == (1, 2)
    world.now += 3
    world.query()
    assert len(world.asks) == 2


def test_silence_is_no_answer(world):
    world.query()
    world.wait(LOOKUP_TIME)
    assert (world.answers, len(world.resolver), world.asks[0].cancelled) == ([], 0, True)
    assert world.resolver.next_timeout() is None
    world.reply(REAL)  # too late: nobody minds
    assert world.answers == []


def test_an_old_answer_is_better_than_waiting(world):
    world.query()
    world.reply(REAL)
    world.wait(200)
    world.query(identifier=2)
    assert len(world.answers) == 1
    world.wait(STALE_AFTER)  # RFC 8767 §5
    assert (world.last.id, world.found, world.last.answer[0].ttl) == (2, ["192.0.2.1"], 30)
    world.query(identifier=3)  # the lookup still goes on
    assert (world.last.id, len(world.asks)) == (3, 2)
    world.reply(REAL.replace("192.0.2.1", "192.0.2.2"))
    world.query(identifier=4)
    assert (world.found, len(world.asks)) == (["192.0.2.2"], 2)


def test_an_old_answer_is_better_than_a_failure(world):
    world.query()
    world.reply(REAL)
    world.wait(200)
    world.query(identifier=2)
    world.asks[-1].ended("refused", world.now)
    assert world.found == ["192.0.2.1"]


def test_an_answer_near_its_end_is_fetched_again_for_the_next(world):
    world.query()
    world.reply(REAL)
    world.now += 95
    world.query(identifier=2)
    assert (len(world.answers), len(world.asks)) == (2, 2)
    world.query(identifier=3)
    assert (len(world.answers), len(world.asks)) == (3, 2)
    world.reply(REAL)
    world.query(identifier=4)
    assert world.last.answer[0].ttl == 100


def test_everything_is_bounded(world):
    for number in range(MOST_WAITING + 1):
        world.query(identifier=number)
    assert [text(each).rcode() for each in world.answers] == [dns.rcode.SERVFAIL]
    for number in range(MOST_LOOKUPS):
        world.query(f"n{number}.test")
    assert (len(world.resolver), len(world.asks), len(world.answers)) == (MOST_LOOKUPS, MOST_LOOKUPS, 2)


def test_what_is_no_ordinary_query():
    world = World()
    pointer = query()[:12] + b"\3www\xc0\x0c\0\1\0\1"  # a name that ends in itself
    for message in (b"x" * 12, pointer):
        with pytest.raises(BadPacket):
            ClientQuery.of_untrusted(message)
    update = bytearray(query())
    update[2] |= 5 << 3
    world.resolver.query(ClientQuery.of_untrusted(bytes(update)), CLIENT, False, world.answers.append, 0.0)
    assert world.answers[-1][3] & 15 == dns.rcode.NOTIMP
    world.query(kind="AXFR")
    assert world.last.rcode() == dns.rcode.REFUSED
    assert world.asks == []


def test_hosts_and_localhost_are_answered_here():
    world = World(ResolverPlan(OneGroup("servers"), hosts={"nas.lan": packed("192.0.2.7", "2001:db8::7")}))
    world.query("NAS.lan")
    assert world.found == ["192.0.2.7"]
    world.query("nas.lan", "AAAA")
    assert world.found == ["2001:db8::7"]
    world.query("nas.lan", "MX")
    assert (world.found, world.last.rcode(), len(world.last.authority)) == ([], 0, 1)
    world.query("localhost")
    assert world.found == ["127.0.0.1"]
    world.query("_dns.resolver.arpa", "TYPE64")  # RFC 9462
    assert world.found == []
    assert world.asks == []


def test_public_resolvers_do_not_exist_where_that_is_asked_for():
    world = World(
        ResolverPlan(OneGroup("servers"), hidden=known_resolvers().has, hides=lambda name, kind: kind == AAAA)
    )
    world.query("dns.google")
    assert world.last.rcode() == dns.rcode.NXDOMAIN
    world.query("use-application-dns.net")
    assert world.last.rcode() == dns.rcode.NXDOMAIN
    world.query("www.example.org", "AAAA")
    assert (world.last.rcode(), world.found) == (0, [])
    assert world.asks == []


def test_fake_addresses():
    world = World(ResolverPlan(OneGroup("servers"), must_be_real=lambda name: name == "time.test"), FakeIPMap())
    world.query("a.test")
    assert (world.found, world.last.answer[0].ttl) == (["198.18.128.2"], 1)
    world.query("A.test", "AAAA")
    assert world.found == ["fd74:756e:666c:6f77:fa4e::2"]
    world.query("a.test", "HTTPS")  # its address hints would be real ones
    assert (world.found, world.last.rcode()) == ([], 0)
    for name in ("2.128.18.198.in-addr.arpa", dns.reversename.from_address("fd74:756e:666c:6f77:fa4e::2").to_text()):
        world.query(name, "PTR")
        assert world.found == ["a.test."]
    world.query("99.128.18.198.in-addr.arpa", "PTR")
    assert world.last.rcode() == dns.rcode.NXDOMAIN
    assert world.asks == []
    for name, kind in (("time.test", "A"), ("a.test", "MX"), ("host", "A"), ("1.2.0.192.in-addr.arpa", "PTR")):
        world.query(name, kind)
    assert len(world.asks) == 4


def test_a_question_of_our_own_gets_real_addresses():
    world = World(fake=FakeIPMap())
    found = []
    world.resolver.look_up(query("www.example.org"), found.append, world.now)
    world.reply(REAL)
    assert [str(record) for record in text(found[0]).answer[0]] == ["192.0.2.1"]
    world.resolver.look_up(query("silent.test"), found.append, world.now)
    world.wait(LOOKUP_TIME)
    assert found[1:] == [None]


def test_names_go_to_the_groups_that_are_theirs():
    plan = ResolverPlan(
        Routes((("the office", lambda name: name.endswith("corp.test"), "office"),), OneGroup("servers"))
    )
    world = World(plan)
    world.query("a.corp.test")
    world.query("a.test")
    assert [each.group for each in world.asks] == ["office", "servers"]


def test_another_plan_keeps_the_cache_and_what_is_under_way(world):
    world.query()
    world.reply(REAL)
    world.query("slow.test")
    world.resolver.plan = ResolverPlan(OneGroup("others"))
    world.query(identifier=9)
    assert world.found == ["192.0.2.1"]
    world.reply("slow.test 60 A 192.0.2.5", ask=1)
    assert world.found == ["192.0.2.5"]
    world.query("new.test")
    assert world.asks[-1].group == "others"


def signed_world() -> tuple[World, Signed]:
    signed = Signed()
    validation = Signatures(Validator([signed.anchor], lambda: NOW))
    return World(ResolverPlan(OneGroup("servers"), dnssec=DNSSEC.VALIDATE, validation=validation)), signed


def serve(world: World, signed: Signed, forge: bytes = b"") -> None:
    """Answer all that is asked, one question after the other, until nothing is."""
    number = 0
    while number < len(world.asks):
        ask = world.asks[number]
        number += 1
        if not ask.cancelled:
            message = signed.answer(ask.message)
            ask.heard(message.replace(bytes([192, 0, 2, 1]), forge) if forge else message, "server", world.now)


def test_answers_are_validated_before_anybody_has_them():
    world, signed = signed_world()
    world.query("www.good")
    asked = dns.message.from_wire(world.asks[0].message)
    assert asked.ednsflags & dns.flags.DO
    assert asked.flags & dns.flags.CD
    world.asks[0].heard(signed.answer(world.asks[0].message), "server", world.now)
    assert not world.answers
    serve(world, signed)
    assert world.found == ["192.0.2.1"]
    assert not world.last.flags & dns.flags.AD, "the client does not know the bit"
    assert all(rrset.rdtype == dns.rdatatype.A for rrset in world.last.answer)
    count = len(world.asks)
    world.query("www.good")
    assert len(world.asks) == count
    world.query("www.good", want_dnssec=True)
    serve(world, signed)
    assert world.last.flags & dns.flags.AD
    assert [rrset.rdtype for rrset in world.last.answer] == [dns.rdatatype.A, dns.rdatatype.RRSIG]
    world.query("www.plain", want_dnssec=True)
    serve(world, signed)
    assert world.found == ["192.0.2.6"]
    assert not world.last.flags & dns.flags.AD


def test_a_bogus_answer_is_a_failure_and_its_name_is_told():
    world, signed = signed_world()
    world.query("www.good")
    serve(world, signed, forge=bytes([203, 0, 113, 9]))
    assert world.last.rcode() == dns.rcode.SERVFAIL
    assert not world.found
    count = len(world.asks)
    world.query("www.good")
    assert (world.last.rcode(), len(world.asks)) == (dns.rcode.SERVFAIL, count), "a failure is remembered"


def test_who_checks_for_themselves_gets_everything_and_no_mark():
    world, signed = signed_world()
    message = dns.message.make_query("www.good", "A", want_dnssec=True)
    message.flags |= dns.flags.CD
    world.resolver.query(ClientQuery.of_untrusted(message.to_wire()), CLIENT, True, world.answers.append, 0.0)
    serve(world, signed, forge=bytes([203, 0, 113, 9]))
    assert world.found[0] == "203.0.113.9"
    assert not world.last.flags & dns.flags.AD


def test_a_chain_that_nobody_gives_is_a_failure():
    world, signed = signed_world()
    world.query("www.good")
    world.asks[0].heard(signed.answer(world.asks[0].message), "server", world.now)
    assert world.asks[0].cancelled
    world.asks[1].ended("closed", world.now)
    assert world.last.rcode() == dns.rcode.SERVFAIL


def test_without_dnssec_nobody_is_asked_for_signatures():
    world = World(ResolverPlan(OneGroup("servers"), dnssec=DNSSEC.OFF))
    world.query(want_dnssec=True)
    assert not dns.message.from_wire(world.asks[0].message).ednsflags & dns.flags.DO
    message = bytearray(answer(world.asks[0].message, "www.example.org 60 A 192.0.2.7"))
    message[3] |= 0x20
    world.asks[0].heard(bytes(message), "server", world.now)
    assert world.found == ["192.0.2.7"]
    assert not world.last.flags & dns.flags.AD
