"""The name server between the driver and resolvers on loopback: what is fake, what is real, and what a reload keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import dns.message
import dns.rrset
import pytest
from resolver_rig import Clock, Rig, UDPServer, answer

from tunflow.dataplane.decision import Delegate
from tunflow.dataplane.served_names import ServedNames
from tunflow.dns.answers import HTTPS
from tunflow.dns.config import BOOTSTRAP, SERVERS, DNSConfig, FakeIP, GroupConfig
from tunflow.dns.questions import ClientQuery, question
from tunflow.dns.resolver_plan import ResolverPlan
from tunflow.dns.seen_names import MOST_NAMES
from tunflow.dns.selection import OneGroup
from tunflow.dns.upstream import Upstream
from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import LocalError
from tunflow.flow import TCP, UDP, FlowInfo
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.sockets import UNMARKED
from tunflow.names.judged_answers import MOST_UNANSWERED, PATIENCE
from tunflow.names.name_server import LINGER, NameServer
from tunflow.names.rules import MadeAnswer, NameRules, Unresolved
from tunflow.outbound.direct import DirectOutbound
from tunflow.protocols.block.outbound import BlockOutbound

CLIENT = endpoint("198.18.0.1", 40000)
RESOLVER = endpoint("192.0.2.53", 53)


class World:
    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.server = UDPServer(rig)
        self.said: list[str] = []
        self.answers: list[bytes] = []
        self.config = self.configured(self.server.target, fake_ip=FakeIP())
        log = CauseLog(self.said.append, lambda: rig.reactor.now)
        way = DirectOutbound()
        self.names = NameServer(rig.reactor, self.config, lambda _via: way, UNMARKED, log)

    @staticmethod
    def configured(target: Endpoint, **options) -> DNSConfig:
        group = GroupConfig((Upstream("udp", target, target.host_text),), via="direct")
        return DNSConfig(
            {SERVERS: group}, ResolverPlan(OneGroup(SERVERS), must_be_real=lambda name: "real" in name), **options
        )

    def query(self, name: str, kind: int = 1) -> None:
        self.names.query(
            ClientQuery.of_untrusted(question(name, kind)), FlowInfo(UDP, CLIENT, RESOLVER), self.answers.append
        )
        self.rig.settle()

    def reply(self, *addresses: str, number: int = -1) -> None:
        self.server.say(answer(self.server.asked[number][0], *addresses), number)
        self.rig.settle()


@pytest.fixture
def world() -> Iterator[World]:
    clock = Clock()
    made = World(Rig(clock))
    yield made
    made.names.close()
    made.server.close()
    assert not made.rig.reactor.watched
    made.rig.reactor.close()


def fake_of(world: World, name: str) -> bytes:
    world.query(name)
    return world.answers[-1][-4:]


def test_names_are_known_by_the_addresses_that_clients_were_told(world):
    fake = fake_of(world, "a.test")
    assert world.names.is_fake(fake)
    assert world.names.names_of(CLIENT.host, fake) == ("a.test",)
    world.query("real.test")
    world.reply("192.0.2.1")
    real = endpoint("192.0.2.1", 0).host
    assert not world.names.is_fake(real)
    assert world.names.names_of(CLIENT.host, real) == ("real.test",)
    assert world.names.names_of(b"xxxx", real) == ()


def test_a_flow_to_a_fake_address_goes_to_the_name_or_for_who_needs_one_to_its_address(world):
    target = Endpoint(fake_of(world, "a.test"), 443)
    assert world.names.outside(target, BlockOutbound()) == Endpoint("a.test", 443)
    assert world.names.outside(target, DirectOutbound()) == Unresolved("a.test", is_ipv6=False)
    assert world.names.outside(Endpoint("b.test", 443), DirectOutbound()) == Unresolved("b.test", is_ipv6=False)
    plain = endpoint("192.0.2.9", 443)
    assert world.names.outside(plain, DirectOutbound()) == plain
    nobody = Endpoint(bytes([198, 18, 200, 200]), 443)
    assert world.names.outside(nobody, BlockOutbound()) is None


def test_a_name_is_asked_for_in_both_families_before_it_has_none(world):
    found = []
    world.names.resolve("six.test", found.append)
    world.rig.settle()
    world.reply()
    assert found == []
    world.reply()  # AAAA: none either
    assert found == [[]]


def test_a_name_that_stands_for_another_is_looked_up_as_that_one(world):
    plan = replace(world.config.plan, aliases={"old.real.test": "new.real.test", "old.test": "new.test"})
    world.names.reconfigure(replace(world.config, plan=plan), lambda _via: DirectOutbound())
    message = question("old.real.test", 1).replace(b"old", b"OLD")
    world.names.query(ClientQuery.of_untrusted(message), FlowInfo(UDP, CLIENT, RESOLVER), world.answers.append)
    world.rig.settle()
    asked = world.server.asked[-1][0]
    assert b"\3new\4real\4test" in asked.lower()
    world.reply("192.0.2.1")
    assert b"\3OLD\4real\4test" in world.answers[-1]
    assert world.answers[-1][-4:] == bytes([192, 0, 2, 1])
    world.query("old.real.test", HTTPS)  # whose hints would be the other one's, and whose name is not this one
    assert world.answers[-1][7] == 0
    assert world.names.names_of(CLIENT.host, fake_of(world, "old.test")) == ("new.test", "old.test")
    found = []
    world.names.resolve("old.real.test", found.append)
    world.rig.settle()
    assert found == [[bytes([192, 0, 2, 1])]]


def test_a_failure_is_said_once_a_minute(world):
    world.rig.reactor.run_once(0)
    for name in ("real1.test", "real2.test"):
        world.query(name)
        world.server.say(answer(world.server.asked[-1][0], code=2))
        world.rig.settle()
    assert [message[3] & 15 for message in world.answers] == [2, 2]
    label = f"udp://{world.server.target}"
    assert world.said == [f"names cannot be looked up: real1.test: servers: {label}: it answered SERVFAIL"]


def test_a_reload_keeps_the_cache_and_the_fake_addresses_and_lets_lookups_end(world):
    fake = fake_of(world, "a.test")
    world.query("real.test")
    world.reply("192.0.2.1")
    world.query("slow.real.test")
    other = UDPServer(world.rig)
    world.names.reconfigure(world.configured(other.target, fake_ip=FakeIP()), lambda _via: DirectOutbound())
    assert fake_of(world, "a.test") == fake
    count = len(world.answers)
    world.query("real.test")
    assert len(world.answers) == count + 1
    world.reply("192.0.2.2")  # to the old one's query
    assert len(world.answers) == count + 2
    world.query("new.real.test")
    assert len(other.asked) == 1
    world.rig.wait(LINGER)
    other.close()


def test_without_fake_addresses_those_given_out_still_mean_their_names(world):
    fake = fake_of(world, "a.test")
    world.names.reconfigure(world.configured(world.server.target), lambda _via: DirectOutbound())
    assert world.names.names_of(CLIENT.host, fake) == ("a.test",)
    count = len(world.answers)
    world.query("a.test")
    assert (len(world.answers), len(world.server.asked)) == (count, 1)


def test_a_configuration_that_cannot_work_changes_nothing(world):
    named = Upstream("tls", Endpoint("dns.test", 853), "dns.test")
    broken = DNSConfig({SERVERS: GroupConfig((named,), via="direct")}, world.config.plan)
    for config in (broken, DNSConfig({SERVERS: GroupConfig(())}, world.config.plan)):
        with pytest.raises(LocalError, match="dns"):
            world.names.reconfigure(config, lambda _via: DirectOutbound())
    assert world.names.config is world.config
    world.query("real.test")
    assert len(world.server.asked) == 1


def test_a_direct_resolver_by_name_is_found_by_the_bootstrap_group(world):
    port = world.server.target.port
    bootstrap = GroupConfig((Upstream("udp", world.server.target, "127.0.0.1"),), via="direct")
    named = GroupConfig((Upstream("udp", Endpoint("dns.test", port), "dns.test"),), via="direct")
    config = replace(world.config, groups={SERVERS: named, BOOTSTRAP: bootstrap})
    world.names.reconfigure(config, lambda _via: DirectOutbound())
    world.query("real.test")
    assert b"dns\4test" in world.server.asked[0][0].lower()
    world.reply("127.0.0.1")
    assert b"real\4test" in world.server.asked[1][0].lower()
    world.reply("192.0.2.1")
    assert world.answers[-1][-4:] == bytes([192, 0, 2, 1])


@pytest.mark.parametrize(
    ("target", "hostname", "blocked"),
    [
        (endpoint("192.0.2.1", 853), None, True),
        (endpoint("8.8.8.8", 443), None, True),
        (endpoint("192.0.2.1", 443), "dns.google", True),
        (endpoint("192.0.2.1", 443), "example.org", False),
        (endpoint("8.8.8.8", 80), None, False),
    ],
)
def test_encrypted_dns_is_refused_where_that_is_asked_for(world, target, hostname, blocked):
    assert not world.names.blocks(target, hostname)
    world.names.reconfigure(replace(world.config, block_encrypted=True), lambda _via: DirectOutbound())
    assert world.names.blocks(target, hostname) is blocked
    world.query("dns.google")
    assert world.answers[-1][3] & 15 == 3


def test_there_are_no_records_of_services_when_they_are_hidden(world):
    """They have the keys of encrypted hellos; the names go on resolving, to real addresses too."""
    world.names.use_rules(NameRules(hides_services=True))
    for kind in (64, 65):
        world.query("real.test", kind)
        assert world.answers[-1][6:8] == b"\0\0"
        assert world.answers[-1][3] & 15 == 0
    assert not world.server.asked


def test_a_name_is_answered_with_the_addresses_of_another(world):
    """A content filter's strict modes: the client's own question, and somebody else's addresses; no other records."""
    world.names.use_rules(NameRules(instead={"search.test": "strict.real.test"}.get))
    world.query("search.test")
    assert b"strict" in world.server.asked[-1][0].lower()  # 0x20
    world.reply("192.0.2.8")
    assert b"\x06search\x04test" in world.answers[-1]
    assert world.answers[-1].endswith(bytes([192, 0, 2, 8]))
    world.query("search.test", 65)
    assert len(world.server.asked) == 1
    assert world.answers[-1][6:8] == b"\0\0"
    assert fake_of(world, "a.test")
    world.names.use_rules(NameRules(instead={"search.test": "strict.test"}.get))
    fake = fake_of(world, "search.test")
    assert world.names.names_of(CLIENT.host, fake) == ("strict.test", "search.test")
    real = bytes([192, 0, 2, 8])
    assert world.names.names_of(CLIENT.host, real) == ("strict.real.test", "search.test")
    for number in range(2 * MOST_NAMES):
        for asked, other in ((f"{number}.test", "strict.test"), ("one.test", f"{number}.strict.test")):
            world.names.use_rules(NameRules(instead={asked: other}.get))
            world.query(asked)
    assert len(world.names.names_of(CLIENT.host, fake)) <= 1 + MOST_NAMES


def test_a_name_is_answered_as_a_list_says(world):
    """A client that is told an address means the name by it from then on."""
    answers = {
        "one.test": MadeAnswer(records=((1, bytes([192, 0, 2, 7])), (1, bytes([192, 0, 2, 8])))),
        "none.test": MadeAnswer(3),
        "refused.test": MadeAnswer(5),
        "empty.test": MadeAnswer(),
        "alias.test": MadeAnswer(alias="strict.real.test"),
    }
    world.names.use_rules(NameRules(answers=lambda name, _kind, _flow: answers.get(name)))
    world.query("one.test")
    assert world.answers[-1][6:8] == b"\0\2"
    assert bytes([192, 0, 2, 7]) in world.answers[-1]
    assert world.names.names_of(CLIENT.host, bytes([192, 0, 2, 8])) == ("one.test",)
    for name, kind, code in (("one.test", 28, 0), ("none.test", 1, 3), ("refused.test", 1, 5), ("empty.test", 1, 0)):
        world.query(name, kind)
        assert (world.answers[-1][3] & 15, world.answers[-1][6:8]) == (code, b"\0\0")
    assert not world.server.asked
    world.query("alias.test")
    world.reply("192.0.2.9")
    assert world.answers[-1].endswith(bytes([192, 0, 2, 9]))


def say_records(world: World, *records: str) -> None:
    """The resolver's answer; records as `name type data`."""
    made = dns.message.make_response(dns.message.from_wire(world.server.asked[-1][0]))
    for text in records:
        name, kind, data = text.split(None, 2)
        made.answer.append(dns.rrset.from_text(name, 60, "IN", kind, data))
    world.server.say(made.to_wire())
    world.rig.settle()


@pytest.mark.parametrize(
    ("kind", "records", "led_to"),
    [
        (1, ("shop.real.test. CNAME t.bad.test.", "t.bad.test. A 192.0.2.1"), ["t.bad.test"]),
        (
            28,
            ("shop.real.test. CNAME a.test.", "a.test. CNAME T.bad.test.", "t.bad.test. AAAA ::1"),
            ["a.test", "t.bad.test"],
        ),
        (65, ("shop.real.test. HTTPS 0 t.bad.test.",), ["t.bad.test"]),
        (65, ('shop.real.test. HTTPS 1 . alpn="h2"',), None),
        (1, ("shop.real.test. A 192.0.2.1",), None),
        (1, ("real.test. DNAME bad.test.", "shop.real.test. CNAME shop.bad.test."), ["bad.test", "shop.bad.test"]),
    ],
)
def test_an_answer_is_judged_by_every_name_that_it_leads_to(world, kind, records, led_to):
    told = []

    def refuses(name, names, flow):
        told.append((name, list(names)))
        return any(each.endswith("bad.test") for each in names)

    world.names.use_rules(NameRules(refuses_answer=refuses))
    world.query("shop.real.test", kind)
    say_records(world, *records)
    assert told == ([] if led_to is None else [("shop.real.test", led_to)])
    assert world.answers[-1][3] & 15 == (0 if led_to is None else 3)
    if led_to is not None:
        assert world.answers[-1][6:8] == b"\0\0"
        world.query("shop.real.test", kind)  # out of the cache
        assert world.answers[-1][3] & 15 == 3
        assert len(world.server.asked) == 1


def test_the_real_addresses_of_a_fake_one_are_judged_too(world):
    """Straight out the name is looked up when the flow begins."""
    world.names.use_rules(NameRules(refuses_answer=lambda _name, names, _flow: "t.bad.test" in names))
    found = []
    flow = FlowInfo("tcp", CLIENT, endpoint("198.18.128.1", 443), "shop.test")
    world.names.resolve("shop.test", found.append, flow=flow)
    world.rig.settle()
    say_records(world, "shop.test. CNAME t.bad.test.", "t.bad.test. A 192.0.2.1")
    assert found == [[]]
    world.names.resolve("shop.test", found.append)  # for nobody's flow
    world.rig.settle()
    assert found[1] == [bytes([192, 0, 2, 1])]


def judge_aliases(world):
    """Refuse what leads to t.bad.test, and ask of all names but allowed.test. What was judged."""
    told = []

    def refuses(name, names, _flow):
        told.append((name, list(names)))
        return "t.bad.test" in names

    world.names.use_rules(NameRules(refuses_answer=refuses, judges_aliases=lambda name, _flow: name != "allowed.test"))
    return told


def is_answered_with_fakes(world):
    return world.answers[-1][3] & 15 == 0 and world.names.is_fake(world.answers[-1][-4:])


def test_a_name_with_a_fake_address_is_judged_by_its_aliases(world):
    """The far side would resolve it, and nobody here would ever see the alias."""
    told = judge_aliases(world)
    for name, alias, code in (("cloak.test", "t.bad.test", 3), ("shop.test", "t.cdn.test", 0)):
        world.answers.clear()
        world.query(name)
        world.query(name, 28)
        assert world.answers == []
        say_records(world, f"{name}. CNAME {alias}.", f"{alias}. A 192.0.2.1")
        assert [each[3] & 15 for each in world.answers] == [code, code]
        world.query(name)  # out of the cache: nobody waits twice
        assert [each[3] & 15 for each in world.answers] == [code, code, code]
    assert is_answered_with_fakes(world)
    assert len(world.server.asked) == 2
    assert told == [("cloak.test", ["t.bad.test"])] * 3 + [("shop.test", ["t.cdn.test"])] * 3


def test_a_name_that_a_list_allows_waits_for_no_aliases(world):
    judge_aliases(world)
    world.query("allowed.test")
    assert is_answered_with_fakes(world)
    world.query("shop.test", HTTPS)
    world.query("one.real.test")
    assert [dns.message.from_wire(each[0]).question[0].name.to_text().lower() for each in world.server.asked] == [
        "one.real.test."
    ]


def test_who_waits_for_aliases_waits_not_for_long(world):
    """The far side may know the name; what comes late is noted, for the flows that follow."""
    told = judge_aliases(world)
    world.query("cloak.test")
    world.rig.wait(PATIENCE)
    assert is_answered_with_fakes(world)
    assert len(world.answers) == 1
    say_records(world, "cloak.test. CNAME t.bad.test.", "t.bad.test. A 192.0.2.1")
    assert told == [("cloak.test", ["t.bad.test"])]
    assert len(world.answers) == 1


def test_nobody_waits_for_aliases_where_no_resolver_is_reached(world):
    """Each new name would take a second more."""
    judge_aliases(world)
    for number in range(MOST_UNANSWERED):
        world.query(f"n{number}.test")
        assert len(world.answers) == number
        world.rig.wait(PATIENCE)
    world.answers.clear()
    world.query("cloak.test")
    assert is_answered_with_fakes(world)
    say_records(world, "cloak.test. CNAME t.bad.test.", "t.bad.test. A 192.0.2.1")  # one answers: it is waited for
    world.query("shop.test")
    assert len(world.answers) == 1
    say_records(world, "shop.test. A 192.0.2.1")
    assert is_answered_with_fakes(world)


def test_a_name_that_no_resolver_knows_keeps_its_fake_address(world):
    judge_aliases(world)
    world.query("internal.test")
    made = dns.message.make_response(dns.message.from_wire(world.server.asked[-1][0]))
    made.set_rcode(2)
    world.server.say(made.to_wire())
    world.rig.settle()
    world.rig.wait(PATIENCE)
    assert is_answered_with_fakes(world)


def test_only_queries_in_its_scope_are_its_business(world):
    own, lan, public = (endpoint(each, 53) for each in ("198.18.0.2", "192.168.1.1", "192.0.2.53"))
    stage = ServedNames(world.names)

    def taken(target: Endpoint, protocol: str = UDP) -> bool:
        return isinstance(stage.admit(FlowInfo(protocol, CLIENT, target)), Delegate)

    assert all(taken(each, protocol) for each in (own, lan, public) for protocol in (UDP, TCP))
    scope = {own.host, lan.host}
    world.names.reconfigure(replace(world.config, scope=scope.__contains__), lambda _via: DirectOutbound())
    assert [taken(each) for each in (own, lan, public)] == [True, True, False]
    assert not taken(endpoint("198.18.0.2", 631))
    world.names.reconfigure(world.config, lambda _via: DirectOutbound())
    assert taken(public)
