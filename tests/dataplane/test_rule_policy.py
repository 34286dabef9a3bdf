"""Rules decide real flows: a client's packets on one end, sockets on the other."""

from __future__ import annotations

import ssl
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest
from test_policy import Bench, here, udp_socket

from tunflow.dataplane.decision import Refuse
from tunflow.dataplane.rule_policy import Routing, RulePolicy
from tunflow.dataplane.sniffing import PATIENCE
from tunflow.endpoint import Buffer, Endpoint, endpoint
from tunflow.flow import ProcessInfo
from tunflow.loop.socket_address import address_of
from tunflow.outbound.direct import DirectOutbound
from tunflow.protocols.contract import Carries, CodecRoute, DatagramRoute
from tunflow.rules.groups import Group, Groups, Health
from tunflow.rules.table import RuleTable, Verdict
from tunflow.testing.packet_script import ScriptedClient
from tunflow.testing.rule_lines import parse_rules
from tunflow.wire.tcp import ACK, PSH, SYN

sys.path.insert(0, str(Path(__file__).parent.parent / "filter"))
from hellos import client_hello, records

HELLO = records(client_hello(b"www.example.com"), 50)
TARGET = endpoint("192.0.2.80", 443)


class Named:
    """Stands for a proxy: takes names, and goes to one socket whatever it is asked for."""

    carries = Carries.STREAMS | Carries.DATAGRAMS | Carries.NAMES
    server = None
    wants_flow = False
    label = "named"

    def __init__(self, peer: Endpoint) -> None:
        self.peer = peer
        self.asked: list[Endpoint] = []

    def stream(self, target: Endpoint, flow: object = None) -> CodecRoute:
        self.asked.append(target)
        return CodecRoute((address_of(self.peer),), None, self.label)

    def datagrams(self) -> DatagramRoute:
        return DatagramRoute((address_of(self.peer),), self, self.label)

    def seal(self, peer: Endpoint, payload: Buffer) -> bytes:
        self.asked.append(peer)
        return bytes(payload)

    def open_untrusted(self, datagram: Buffer) -> tuple[Endpoint, memoryview]:
        return TARGET, memoryview(datagram)


class Names:
    """Fake and seen names; resolving is answered when the test says so."""

    def __init__(self, **fields: object) -> None:
        self.fake: dict[bytes, str] = {}
        self.seen: dict[bytes, str] = {}
        self.asked: list[tuple[str, object]] = []
        self.__dict__.update(fields)

    def admit(self, flow):
        address = flow.target.host
        flow.hostname, flow.is_fake = self.fake.get(address) or self.seen.get(address), self.is_fake(address)

    def outside(self, target, dialer):
        return target

    def is_fake(self, address: bytes) -> bool:
        return address in self.fake or address[:2] == bytes((198, 18))

    def resolve(self, name, then, ipv6_first=False):
        self.asked.append((name, then))

    def close(self):
        pass


def test_a_server_is_avoided_while_no_flow_would_go_to_it() -> None:
    ways = {name: Named(TARGET) for name in ("a", "b", "c", "d")}
    for name, way in ways.items():
        way.label = f"proxy {name}"
    groups = [
        Group("f", "fallback", ("a", "b")),
        Group("l", "load-balance", ("c", "b")),
        Group("above", "select", ("f", "d")),
    ]
    rules = ["DST-PORT,80,above", "DST-PORT,81,l", "MATCH,DIRECT"]
    made: list[RulePolicy] = []
    Bench(lambda context: made.append(RulePolicy(routing(rules, ways, groups), context)) or made[0])
    (policy,) = made
    health = policy.routing.groups.health

    def avoided() -> list[str]:
        return [name for name in ways if policy.avoids(f"proxy {name}")]

    assert avoided() == ["d"]
    health.recall("a", None)
    assert avoided() == ["a", "d"]
    health.recall("c", None)
    assert avoided() == ["a", "c", "d"]
    health.recall("b", None)
    assert avoided() == ["d"]  # where none works, any may be tried
    policy.routing.groups.select("above", "d")
    assert avoided() == ["a"]
    assert not policy.avoids("unknown")


def routing(lines, ways=None, groups=()):
    ways = {"DIRECT": DirectOutbound(), "REJECT": Refuse.RESET, "REJECT-DROP": Refuse.DROP, **(ways or {})}
    made = Groups(list(groups), [name for name in ways if name.islower()], Health(lambda: 0.0), ["DIRECT", "REJECT"])
    return Routing(RuleTable(parse_rules(lines, "r")), made, ways, Verdict("REJECT", "r", 0, "default"))


def start(lines, ways=None, *, names=None, **options):
    told: list[str] = []
    bench = Bench(lambda context: RulePolicy(routing(lines, ways), context), names=names, trace=told.append, **options)
    bench.told = told
    return bench


@pytest.fixture
def listener():
    import socket

    sock = socket.create_server(("127.0.0.1", 0))
    sock.settimeout(60)
    yield sock
    sock.close()


def flags(bench):
    return [answer.flags for answer in bench.answers()]


def test_the_first_rule_that_holds_decides_and_is_told(listener):
    proxy = Named(here(listener))
    bench = start(["DST-PORT,80,REJECT", "IP-CIDR,192.0.2.0/24,far", "MATCH,REJECT-DROP"], {"far": proxy})
    bench.send(SYN, seq=0)
    bench.until(lambda: bench.slots.relays)
    assert proxy.asked == [TARGET]
    assert bench.told[0].endswith("-> 192.0.2.80:443: far, by r:2 IP-CIDR,192.0.2.0/24,far")
    bench.until(lambda: bench.slots.relays and "SA" in flags(bench))
    bench.client = ScriptedClient(bench.stack, target_port=80)
    bench.send(SYN, seq=0)
    assert flags(bench) == ["RA"]  # at once, within one round
    bench.close()


def test_a_flow_that_no_rule_is_about_gets_the_default():
    bench = start(["DST-PORT,80,DIRECT"])
    bench.send(SYN, seq=0)
    assert flags(bench) == ["RA"]
    bench.close()


def test_a_rule_on_names_waits_for_the_hello_and_the_proxy_gets_the_name(listener):
    """The address may be a poisoned one."""
    proxy = Named(here(listener))
    bench = start(["DOMAIN-SUFFIX,example.com,far", "MATCH,REJECT"], {"far": proxy})
    bench.send(SYN, seq=0)
    assert flags(bench) == ["SA"]
    bench.send(ACK | PSH, seq=1, ack=1, payload=HELLO[:60])
    assert not proxy.asked
    bench.send(ACK | PSH, seq=61, ack=1, payload=HELLO[60:])
    far, _ = listener.accept()
    assert proxy.asked == [Endpoint("www.example.com", 443)]
    far.settimeout(60)
    got = b""
    while len(got) < len(HELLO):
        bench.reactor.run_once(0.05)
        got += far.recv(4096)
    assert got == HELLO  # what was looked at is not taken
    far.close()
    bench.close()


def test_a_client_that_is_silent_is_decided_by_its_address(listener):
    proxy = Named(here(listener))
    bench = start(["DOMAIN,a.example,REJECT", "MATCH,far"], {"far": proxy})
    began = bench.reactor.now
    bench.send(SYN, seq=0)
    bench.send(ACK, seq=1, ack=1)
    bench.until(lambda: proxy.asked)
    assert proxy.asked == [TARGET]
    assert PATIENCE <= bench.reactor.now - began < PATIENCE + 1
    bench.close()


@pytest.mark.parametrize("payload", [b"SSH-2.0-x\r\n", b"\x16\x03\x01\x00\x00", records(client_hello(None))])
def test_first_bytes_that_tell_nothing_are_not_waited_for(listener, payload):
    proxy = Named(here(listener))
    bench = start(["DOMAIN,a.example,REJECT", "MATCH,far"], {"far": proxy})
    bench.send(SYN, seq=0)
    assert flags(bench) == ["SA"]
    bench.send(ACK | PSH, seq=1, ack=1, payload=payload)
    assert proxy.asked == [TARGET]
    bench.close()


def test_a_port_whose_server_speaks_first_is_not_waited_for(listener):
    proxy = Named(here(listener))
    bench = start(["DOMAIN,a.example,REJECT", "MATCH,far"], {"far": proxy})
    bench.client = ScriptedClient(bench.stack, target_port=22)
    bench.send(SYN, seq=0)
    assert proxy.asked == [endpoint("192.0.2.80", 22)]
    bench.close()


def test_a_name_in_the_lan_keeps_its_address():
    """192.168/16 is nobody's on the Internet: a client goes there on purpose."""
    proxy = Named(endpoint("127.0.0.1", 1))
    bench = start(
        ["DOMAIN,nas.example,far", "MATCH,REJECT"], {"far": proxy}, names=Names(seen={b"\xc0\xa8\0\1": "nas.example"})
    )
    bench.client = ScriptedClient(bench.stack, target="192.168.0.1", target_port=445)
    bench.send(SYN, seq=0)
    assert proxy.asked == [endpoint("192.168.0.1", 445)]
    bench.close()


def fake_bench(lines, proxy=None):
    names = Names(fake={ip_address("198.18.128.5").packed: "fake.example"})
    bench = start(lines, {"far": proxy} if proxy else None, names=names)
    bench.client = ScriptedClient(bench.stack, target="198.18.128.5", target_port=443)
    return bench, names


def test_a_fake_address_goes_to_a_proxy_by_name_and_is_not_resolved(listener):
    proxy = Named(here(listener))
    bench, names = fake_bench(["DOMAIN,fake.example,far", "IP-CIDR,10.0.0.0/8,REJECT", "MATCH,REJECT"], proxy)
    bench.send(SYN, seq=0)
    assert proxy.asked == [Endpoint("fake.example", 443)]
    assert names.asked == []
    bench.close()


def test_a_rule_on_addresses_has_a_fake_one_resolved(listener):
    proxy = Named(here(listener))
    bench, names = fake_bench(["IP-CIDR,10.0.0.0/8,far", "MATCH,REJECT"], proxy)
    bench.send(SYN, seq=0)
    ((name, reply),) = names.asked
    assert name == "fake.example"
    assert flags(bench) == []  # the SYN is held
    reply([ip_address("10.1.1.1").packed])
    bench.until(lambda: proxy.asked)
    assert proxy.asked == [endpoint("10.1.1.1", 443)]
    bench.close()


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["::1", "127.0.0.1"]])
def test_a_fake_address_that_goes_direct_is_resolved_first(addresses):
    bench, names = fake_bench(["MATCH,DIRECT"])
    bench.send(SYN, seq=0)
    names.asked[0][1]([ip_address(text).packed for text in addresses])
    bench.until(lambda: bench.told)
    assert "DIRECT" in bench.told[0]
    bench.close()


def test_a_name_without_an_address_is_refused():
    bench, names = fake_bench(["MATCH,DIRECT"])
    bench.send(SYN, seq=0)
    names.asked[0][1]([])
    seen: list[str] = []
    bench.until(lambda: seen.extend(flags(bench)) or seen)
    assert seen == ["RA"]
    bench.close()


def test_a_fake_address_that_means_nothing_any_more_is_refused():
    bench = start(["MATCH,DIRECT"], names=Names())
    bench.client = ScriptedClient(bench.stack, target="198.18.128.9", target_port=443)
    bench.send(SYN, seq=0)
    assert flags(bench) == ["RA"]
    bench.close()


def test_a_reload_changes_what_new_flows_get(listener):
    one, other = Named(here(listener)), Named(here(listener))
    bench = start(["MATCH,one"], {"one": one, "two": other})
    bench.send(SYN, seq=0)
    bench.policy.routing = routing(["MATCH,two"], {"one": one, "two": other})
    bench.client = ScriptedClient(bench.stack, target_port=444)
    bench.send(SYN, seq=0)
    assert (len(one.asked), len(other.asked)) == (1, 1)
    assert len(bench.slots.relays) == 2
    bench.close()


def test_groups_choose_the_server(listener):
    proxy = Named(here(listener))
    bench = start(["MATCH,one"], {"one": proxy})
    bench.policy.routing = routing(["MATCH,auto"], {"one": proxy}, [Group("auto", "fallback", ("one",))])
    bench.send(SYN, seq=0)
    assert len(proxy.asked) == 1
    assert "auto -> one, by r:1 MATCH,auto" in bench.told[0]
    bench.close()


def test_the_process_decides(listener):
    proxy = Named(here(listener))
    bench = start(
        ["PROCESS-NAME,curl,far", "MATCH,REJECT"],
        {"far": proxy},
        find_process=lambda *_: ProcessInfo(executable="/usr/bin/curl"),
    )
    bench.send(SYN, seq=0)
    assert proxy.asked == [TARGET]
    bench.close()


def quic_datagrams(name: str) -> list[bytes]:
    """A real client's first datagrams; its hello does not fit into one."""
    from aioquic.quic.configuration import QuicConfiguration
    from aioquic.quic.connection import QuicConnection

    protocols = [f"protocol-{number}" + "x" * 60 for number in range(40)]
    configuration = QuicConfiguration(
        is_client=True, server_name=name, alpn_protocols=protocols, verify_mode=ssl.CERT_NONE
    )
    client = QuicConnection(configuration=configuration)
    client.connect(("192.0.2.1", 443), now=0.0)
    return [datagram for datagram, _ in client.datagrams_to_send(now=0.0)]


def test_a_quic_flow_waits_until_its_name_is_there():
    far = udp_socket()
    proxy = Named(here(far))
    bench = start(["DOMAIN,quic.example,far", "MATCH,REJECT"], {"far": proxy})
    datagrams = quic_datagrams("quic.example")
    bench.send_datagram(datagrams[0], TARGET)
    assert not bench.told
    for datagram in datagrams[1:]:
        bench.send_datagram(datagram, TARGET)
    assert [far.recvfrom(2000)[0] for _ in datagrams] == datagrams
    assert set(proxy.asked) == {Endpoint("quic.example", 443)}
    assert "(quic.example): far, by r:1" in bench.told[0]
    far.close()
    bench.close()


def test_a_datagram_that_is_not_quic_is_not_kept():
    far = udp_socket()
    bench = start(["DOMAIN,quic.example,REJECT", "MATCH,far"], {"far": Named(here(far))})
    bench.send_datagram(b"hello", TARGET)
    assert far.recvfrom(100)[0] == b"hello"
    far.close()
    bench.close()


def test_a_quic_flow_whose_hello_never_ends_is_decided_by_its_address():
    far = udp_socket()
    bench = start(["DOMAIN,quic.example,REJECT", "MATCH,far"], {"far": Named(here(far))})
    first = quic_datagrams("quic.example")[0]
    bench.send_datagram(first, TARGET)
    bench.until(lambda: bench.told)
    assert far.recvfrom(2000)[0] == first
    far.close()
    bench.close()
