"""The name server between the driver and resolvers on loopback: what is fake, what is real, and what a reload keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from resolver_rig import Clock, Rig, UDPServer, answer

from tunflow.dns.config import BOOTSTRAP, SERVERS, DNSConfig, FakeIP, Group
from tunflow.dns.resolver import ClientQuery, Plan, question
from tunflow.dns.selection import OneGroup
from tunflow.dns.upstream import Upstream
from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import LocalError
from tunflow.flow import UDP, FlowInfo
from tunflow.loop import reactor as reactor_module
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.sockets import UNMARKED
from tunflow.names.name_server import LINGER, NameServer
from tunflow.names.rules import NameRules, Unresolved
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
        self.names = NameServer(rig.reactor, self.config, lambda _via: DirectOutbound(), UNMARKED, log)

    @staticmethod
    def configured(target: Endpoint, **options) -> DNSConfig:
        group = Group((Upstream("udp", target, target.host_text),), via="direct")
        return DNSConfig({SERVERS: group}, Plan(OneGroup(SERVERS), must_be_real=lambda name: "real" in name), **options)

    def query(self, name: str, kind: int = 1) -> None:
        self.names.query(
            ClientQuery.of_untrusted(question(name, kind)), FlowInfo(UDP, CLIENT, RESOLVER), self.answers.append
        )
        self.rig.settle()

    def reply(self, *addresses: str, number: int = -1) -> None:
        self.server.say(answer(self.server.asked[number][0], *addresses), number)
        self.rig.settle()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    clock = Clock()
    monkeypatch.setattr(reactor_module, "time", clock)
    made = World(Rig(clock))
    yield made
    made.names.close()
    made.server.close()
    assert not made.rig.reactor._handlers
    made.rig.reactor.close()


def fake_of(world: World, name: str) -> bytes:
    world.query(name)
    return world.answers[-1][-4:]


def test_names_are_known_by_the_addresses_that_clients_were_told(world):
    fake = fake_of(world, "a.test")
    assert world.names.is_fake(fake)
    assert world.names.name_of(CLIENT.host, fake) == "a.test"
    world.query("real.test")
    world.reply("192.0.2.1")
    real = endpoint("192.0.2.1", 0).host
    assert not world.names.is_fake(real)
    assert world.names.name_of(CLIENT.host, real) == "real.test"
    assert world.names.name_of(b"xxxx", real) is None


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
    assert world.names.name_of(CLIENT.host, fake) == "a.test"
    count = len(world.answers)
    world.query("a.test")
    assert (len(world.answers), len(world.server.asked)) == (count, 1)


def test_a_configuration_that_cannot_work_changes_nothing(world):
    named = Upstream("tls", Endpoint("dns.test", 853), "dns.test")
    broken = DNSConfig({SERVERS: Group((named,), via="direct")}, world.config.plan)
    for config in (broken, DNSConfig({SERVERS: Group(())}, world.config.plan)):
        with pytest.raises(LocalError, match="dns"):
            world.names.reconfigure(config, lambda _via: DirectOutbound())
    assert world.names.config is world.config
    world.query("real.test")
    assert len(world.server.asked) == 1


def test_a_direct_resolver_by_name_is_found_by_the_bootstrap_group(world):
    port = world.server.target.port
    bootstrap = Group((Upstream("udp", world.server.target, "127.0.0.1"),), via="direct")
    named = Group((Upstream("udp", Endpoint("dns.test", port), "dns.test"),), via="direct")
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
    assert world.names.name_of(CLIENT.host, fake) == "strict.test"
