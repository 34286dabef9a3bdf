"""Names that are nobody's outside: whatever resolvers are configured, and whoever asks, no packet leaves for them."""

from __future__ import annotations

from collections.abc import Iterator

import dns.message
import dns.rcode
import pytest
from resolver_rig import Clock, Rig

from tunflow.dns.answers import AAAA, HTTPS, PTR, A
from tunflow.dns.questions import ClientQuery, question
from tunflow.endpoint import Endpoint, endpoint
from tunflow.flow import UDP, FlowInfo
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.sockets import UNMARKED
from tunflow.names.name_server import NameServer
from tunflow.profiles.file import parse
from tunflow.protocols.contract import Blocked, Carries
from tunflow.tunnel.compile import compile_profile

CLIENT = FlowInfo(UDP, endpoint("198.18.0.1", 40000), endpoint("192.0.2.53", 53))
SERVERS = {
    "udp": 'servers = ["udp://192.0.2.53"]',
    "tcp": 'servers = ["tcp://192.0.2.53"]',
    "tls": 'servers = ["tls://dns.example@192.0.2.53"]',
    "https": 'servers = ["https://dns.example@192.0.2.53/dns-query"]',
    "quic": 'servers = ["quic://dns.example@192.0.2.53"]',
    "by name": 'servers = ["tls://dns.example.org"]',
    "fake": 'mode = "fake"',
    "fake over https": 'mode = "fake"\nservers = ["https://dns.example@192.0.2.53/dns-query"]',
    "checked": 'servers = ["tls://dns.example@192.0.2.53"]\ndnssec = "validate"',
}
NAMES = (
    *("nas", "abc.onion", "a.b.invalid", "a.test", "printer.local", "tv.home.arpa"),
    *("1.1.168.192.in-addr.arpa", "9.0.0.10.in-addr.arpa", "1.64.100.in-addr.arpa", "1.d.f.ip6.arpa"),
)
TXT = 16


class Nowhere:
    """A way out that counts who wants to leave by it."""

    label = "nowhere"
    resolver = None
    carries = Carries.STREAMS | Carries.DATAGRAMS | Carries.NAMES

    def __init__(self) -> None:
        self.asked = 0

    def stream(self, _target: Endpoint) -> None:
        self.asked += 1
        raise Blocked("nothing leaves")

    def datagrams(self) -> None:
        self.asked += 1
        raise Blocked("nothing leaves")


class World:
    def __init__(self, dns_table: str) -> None:
        self.rig = Rig(Clock())
        self.way = Nowhere()
        profile = parse(f'server = "ss://YWVzLTI1Ni1nY206cA@192.0.2.1:8388"\n[dns]\n{dns_table}\n', "p.toml")
        config = compile_profile(profile).names
        assert config is not None
        log = CauseLog(lambda _: None, lambda: self.rig.reactor.now)
        self.names = NameServer(self.rig.reactor, config, lambda _via: self.way, UNMARKED, log)
        self.answers: list[bytes] = []

    def query(self, name: str, kind: int, klass: int = 1) -> dns.message.Message | None:
        """The answer that is there without waiting."""
        self.answers.clear()
        message = bytearray(question(name, kind))
        message[-1] = klass
        self.names.query(ClientQuery.of_untrusted(bytes(message)), CLIENT, self.answers.append)
        self.rig.settle()
        return dns.message.from_wire(self.answers[0]) if self.answers else None


@pytest.fixture(params=SERVERS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(SERVERS[request.param])
    yield made
    made.names.close()
    made.rig.reactor.close()


def test_no_resolver_is_asked_for_them(world: World) -> None:
    for name in NAMES:
        for kind in (A, AAAA, HTTPS, PTR, TXT):
            found = world.query(name, kind)
            assert found is not None
            assert (found.rcode(), found.answer) == (dns.rcode.NXDOMAIN, []), (name, kind)
    for name in ("localhost", "a.localhost"):
        found = world.query(name, A)
        assert found is not None
        assert found.answer[0][0].address == "127.0.0.1"
    assert world.way.asked == 0


def test_neither_in_another_class_of_the_dns(world: World) -> None:
    chaos = 3
    for name in (*NAMES, "localhost"):
        found = world.query(name, TXT, chaos)
        assert found is not None
        assert found.rcode() == dns.rcode.NXDOMAIN
    assert world.way.asked == 0


def test_nor_for_flows_whose_first_bytes_told_the_name(world: World) -> None:
    found: list[object] = []
    for name in ("nas", "abc.onion", "a.test"):
        world.names.resolve(name, found.append)
        world.rig.settle()
    assert found == [[], [], []]
    world.names.resolve("a.localhost", found.append)
    world.rig.settle()
    assert found[-1] == [bytes([127, 0, 0, 1])]
    assert world.way.asked == 0


def test_others_are_asked_for(world: World) -> None:
    world.query("www.example.org", TXT)
    assert world.way.asked > 0
