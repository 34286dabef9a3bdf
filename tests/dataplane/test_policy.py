"""What a policy says happens: flows carried, refused, handed over, and decided later."""

from __future__ import annotations

import socket

import pytest
from driver_rig import DriverRig

from tunflow.dataplane.decision import Carry, Delegate, Refuse
from tunflow.endpoint import Endpoint, endpoint
from tunflow.flow import ProcessInfo
from tunflow.loop.socket_address import address_of
from tunflow.outbound.chain import make_outbound
from tunflow.outbound.direct import DirectOutbound
from tunflow.protocols.shadowsocks.datagram import Datagrams
from tunflow.protocols.shadowsocks.keys import master_key
from tunflow.protocols.shadowsocks.methods import METHODS
from tunflow.protocols.shadowsocks.replay import ReplayFilter
from tunflow.protocols.shadowsocks.settings import ShadowsocksServer
from tunflow.testing.packet_script import ScriptedClient
from tunflow.wire import icmp, ipv4, protocols, udp, virtio_net
from tunflow.wire.checksum import transport_checksum
from tunflow.wire.tcp import ACK, PSH, SYN

CLIENT = endpoint("198.18.0.1", 40000)
TARGET = endpoint("192.0.2.1", 9999)


class Scripted:
    """A policy that says what the test wants."""

    def __init__(self, decision=None):
        self.decision = decision
        self.asked = []

    def stream(self, case):
        self.asked.append(case)
        return self.decision

    def datagrams(self, case):
        self.asked.append(case)
        return self.decision


class Bench(DriverRig):
    """With a policy."""

    def __init__(self, policy, **options):
        super().__init__(DirectOutbound(), 443, policy=policy, **options)

    def send(self, flags, **fields):
        super().send(flags, **fields)
        self.reactor.run_once(1)

    def send_datagram(self, payload, target=TARGET):
        checksum = transport_checksum(
            CLIENT.host, target.host, protocols.UDP, udp.build(CLIENT.port, target.port, len(payload)) + payload
        )
        body = udp.build(CLIENT.port, target.port, len(payload), checksum=checksum or 0xFFFF) + payload
        packet = ipv4.build(CLIENT.host, target.host, protocols.UDP, len(body)) + body
        self.card.write([[virtio_net.PLAIN, packet]])
        self.reactor.run_once(1)


@pytest.fixture
def listener():
    sock = socket.create_server(("127.0.0.1", 0))
    sock.settimeout(60)
    yield sock
    sock.close()


def here(sock):
    return endpoint(*sock.getsockname()[:2])


def test_a_stream_is_carried_to_another_target(listener):
    bench = Bench(Scripted(Carry(DirectOutbound(), here(listener))))
    bench.send(SYN, seq=0)
    bench.until(lambda: bench.slots.relays)
    far, _ = listener.accept()
    bench.until(lambda: any(answer.flags == "SA" for answer in bench.answers()))
    (case,) = bench.policy.asked
    flow = case.flow
    assert (flow.protocol, flow.target.port, flow.hostname) == ("tcp", 443, None)
    far.close()
    bench.close()


def test_refused_by_reset_by_icmp_and_by_silence():
    bench = Bench(Scripted(Refuse.RESET))
    bench.send(SYN, seq=0)
    assert [answer.flags for answer in bench.answers()] == ["RA"]
    bench.policy.decision = Refuse.DROP
    bench.client = ScriptedClient(bench.stack, target_port=444)
    bench.send(SYN, seq=0)
    assert bench.answers() == []
    bench.policy.decision = Refuse.PROHIBITED
    bench.client = ScriptedClient(bench.stack, target_port=445)
    bench.send(SYN, seq=0)
    (packet,) = bench.card.read(10)
    header = ipv4.parse_untrusted(memoryview(packet))
    assert header.protocol == protocols.ICMP
    assert bench.stack.connections == 0
    bench.close()


def test_a_syn_waits_for_a_late_decision(listener):
    bench = Bench(Scripted(None))
    bench.send(SYN, seq=0)
    assert bench.answers() == []
    (case,) = bench.policy.asked
    case.give(Carry(DirectOutbound(), here(listener)))
    bench.until(lambda: any(answer.flags == "SA" for answer in bench.answers()))
    bench.close()


def test_an_owner_lets_the_client_in_looks_and_gives_it_back(listener):
    seen = []

    class Sniffer:
        def __init__(self, case):
            self.case, self.connection = case, case.connection
            case.connection.accept(case.context.reactor.now)

        def service(self):
            if self.connection.readable:
                seen.append(b"".join(self.connection.peek()))
                self.case.give(Carry(DirectOutbound(), here(listener)))

    bench = Bench(Scripted(Delegate(stream=Sniffer)))
    bench.send(SYN, seq=0)
    assert [answer.flags for answer in bench.answers()] == ["SA"]
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"first bytes")
    far, _ = listener.accept()
    far.settimeout(0.01)
    got = bytearray()

    def arrived():
        try:
            got.extend(far.recv(100))
        except TimeoutError:
            return False
        return True

    bench.until(arrived)
    assert seen == [b"first bytes"]
    assert got == b"first bytes"  # nothing was taken from the connection
    far.close()
    bench.close()


def test_a_connection_that_was_let_in_can_only_be_reset():
    class Judge:
        def __init__(self, case):
            self.case, self.connection = case, case.connection
            case.connection.accept(case.context.reactor.now)

        def service(self):
            if self.connection.readable:
                self.case.give(Refuse.PROHIBITED)

    bench = Bench(Scripted(Delegate(stream=Judge)))
    bench.send(SYN, seq=0)
    bench.answers()
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"bad words")
    assert "R" in bench.answers()[-1].flags
    assert bench.stack.connections == 0
    bench.close()


def test_a_target_that_fails_after_the_client_was_let_in_resets_it(listener):
    gone = here(listener)
    listener.close()

    class Eager:
        def __init__(self, case):
            self.case, self.connection = case, case.connection
            case.connection.accept(case.context.reactor.now)

        def service(self):
            if self.connection.readable:
                self.case.give(Carry(DirectOutbound(), gone))

    bench = Bench(Scripted(Delegate(stream=Eager)))
    bench.send(SYN, seq=0)
    bench.answers()
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"x")
    flags = []
    bench.until(lambda: flags.extend(answer.flags for answer in bench.answers()) or any("R" in f for f in flags))
    bench.close()


def udp_socket():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(60)
    return sock


def test_datagrams_wait_for_a_late_decision_and_answers_keep_the_clients_view():
    bench = Bench(Scripted(None))
    far = udp_socket()
    bench.send_datagram(b"one")
    bench.send_datagram(b"two")
    (case,) = bench.policy.asked
    flow = case.flow
    assert (flow.protocol, flow.client, flow.target) == ("udp", CLIENT, TARGET)
    case.give(Carry(DirectOutbound(), here(far)))
    assert [far.recvfrom(10)[0] for _ in range(2)] == [b"one", b"two"]
    bench.send_datagram(b"three")
    payload, peer = far.recvfrom(10)
    assert payload == b"three"
    assert len(bench.policy.asked) == 1
    far.sendto(b"answer", peer)
    packets = []
    bench.until(lambda: packets.extend(bench.card.read(10)) or packets)
    header = ipv4.parse_untrusted(memoryview(packets[0]))
    assert header.src == TARGET.host  # not the address that really answered
    far.close()
    bench.close()


def test_two_targets_of_one_socket_go_two_ways():
    far, other = udp_socket(), udp_socket()

    class ByPort(Scripted):
        def datagrams(self, case):
            return Carry(DirectOutbound(), here(far if case.flow.target.port == 9999 else other))

    bench = Bench(ByPort())
    bench.send_datagram(b"a")
    bench.send_datagram(b"b", endpoint("192.0.2.1", 1))
    assert far.recv(10) == b"a"
    assert other.recv(10) == b"b"
    bench.close()
    far.close()
    other.close()


def test_a_name_goes_to_the_proxy_and_its_answers_seem_to_come_from_the_clients_target():
    proxy = udp_socket()
    method = METHODS["aes-128-gcm"]
    server = Datagrams(method, master_key("secret", method.key_size), bytes, ReplayFilter())
    dialer = make_outbound([ShadowsocksServer("127.0.0.1", here(proxy).port, "aes-128-gcm", "secret")])
    bench = Bench(Scripted(Carry(dialer, Endpoint("example.com", 9999))))
    bench.send_datagram(b"hello")
    sealed, peer = proxy.recvfrom(1000)
    target, payload = server.open_untrusted(sealed)
    assert (target, bytes(payload)) == (Endpoint("example.com", 9999), b"hello")
    proxy.sendto(server.seal(endpoint("203.0.113.5", 9999), b"back"), peer)
    packets = []
    bench.until(lambda: packets.extend(bench.card.read(10)) or packets)
    assert ipv4.parse_untrusted(memoryview(packets[0])).src == TARGET.host
    bench.close()
    proxy.close()


@pytest.mark.parametrize(("how", "told"), [(Refuse.RESET, True), (Refuse.DROP, False)])
def test_refused_datagrams(how, told):
    bench = Bench(Scripted(how))
    bench.send_datagram(b"x")
    packets = bench.card.read(10)
    assert bool(packets) is told
    if told:
        message = icmp.parse_v4_untrusted(memoryview(packets[0])[20:])
        assert message.code == icmp.UnreachableV4.PORT
    assert bench.context.statistics.udp_dropped == 1
    bench.close()


def test_an_owner_can_have_the_whole_socket_and_hears_of_its_end():
    got, closed = [], []

    class Owner:
        def __init__(self, case):
            self.case = case

        def send(self, run):
            got.append((run.flow.target, [bytes(payload) for payload in run.datagrams()]))
            self.case.context.deliver(run.flow.mapping, run.flow.target, [b"echo"])

        def close(self):
            closed.append(self)

    bench = Bench(Scripted(Delegate(datagrams=Owner, whole_socket=True)))
    bench.send_datagram(b"a")
    bench.send_datagram(b"b", endpoint("192.0.2.7", 1))
    assert got == [(TARGET, [b"a"]), (endpoint("192.0.2.7", 1), [b"b"])]
    assert len(bench.policy.asked) == 1
    assert len(bench.card.read(10)) == 2
    bench.stack.udp.handle_timeout(bench.reactor.now + 1000)
    bench.reactor.call_soon(lambda: None)
    bench.reactor.run_once(1)
    assert len(closed) == 1
    bench.close()


def test_the_process_is_looked_up_only_when_asked_for():
    calls = []

    def find(protocol, client, target):
        calls.append((protocol, client.port, target.port))
        return ProcessInfo(pid=7, name="curl")

    bench = Bench(Scripted(Refuse.DROP), find_process=find)
    bench.send(SYN, seq=0)
    (case,) = bench.policy.asked
    flow = case.flow
    assert calls == []
    assert flow.process == flow.process == ProcessInfo(pid=7, name="curl")
    assert calls == [("tcp", flow.client.port, 443)]
    bench.close()


def test_our_sockets_carry_the_mark():
    from tunflow.loop.sockets import SocketOptions

    sock = SocketOptions(mark=77).open(socket.AF_INET, socket.SOCK_STREAM)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == 77
    assert not sock.getblocking()
    sock.close()
    assert address_of(TARGET).sockaddr == ("192.0.2.1", 9999)
