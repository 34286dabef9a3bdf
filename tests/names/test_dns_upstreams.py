"""Resolvers over UDP and TCP, alone and in groups, against servers on loopback that lie, hang up and say nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from random import Random

import dns.message
import pytest
from resolver_rig import Clock, Rig, TCPServer, UDPServer, answer, query

from nobody import nobody_at
from one_port import sockets_at_one_port
from tunflow.dns.upstream import Upstream
from tunflow.endpoint import Endpoint, endpoint
from tunflow.loop.socket_address import address_of
from tunflow.loop.sockets import UNMARKED
from tunflow.names.exchange import PATIENCE
from tunflow.names.following_resolver import FollowingResolver
from tunflow.names.group import BENCHED, STAGGER, ResolverGroup
from tunflow.names.stream_resolver import IDLE_CLOSE
from tunflow.names.udp import AGAIN, MOST_PORTS, mixed
from tunflow.names.upstreams import make_upstream
from tunflow.outbound.direct import DirectOutbound
from tunflow.protocols.block.outbound import BlockOutbound
from tunflow.protocols.contract import Association, DatagramRoute


@pytest.fixture
def rig() -> Iterator[Rig]:
    clock = Clock()
    made = Rig(clock)
    yield made
    assert not made.reactor.watched  # every descriptor was given back
    made.reactor.close()


def make(rig: Rig, transport: str, target: Endpoint, dialer=None, **options):
    upstream = Upstream(transport, target, target.host_text)
    way = dialer or DirectOutbound()
    return make_upstream(rig.reactor, upstream, lambda: way, UNMARKED, rig.draw, **options)


@pytest.fixture
def udp(rig: Rig) -> Iterator[UDPServer]:
    made = UDPServer(rig)
    yield made
    made.close()


@pytest.fixture
def tcp(rig: Rig) -> Iterator[TCPServer]:
    made = TCPServer(rig)
    yield made
    made.close()


@pytest.fixture
def both(rig: Rig) -> Iterator[tuple[UDPServer, TCPServer]]:
    """At one port."""
    ((listener, sock),) = sockets_at_one_port("127.0.0.1")
    udp, tcp = UDPServer(rig, sock), TCPServer(rig, listener)
    yield udp, tcp
    udp.close()
    tcp.close()


def test_each_query_has_its_own_port_number_and_letters(rig, udp):
    resolver = make(rig, "udp", udp.target)
    cancels = [rig.ask(resolver) for _ in range(20)]
    rig.settle()
    messages = [message for message, _ in udp.asked]
    assert len({port for _, (_, port) in udp.asked}) == 20
    assert len({message[:2] for message in messages}) == 20
    assert len({message[12:29] for message in messages}) > 10
    assert {message[12:29].lower() for message in messages} == {query()[12:29]}
    for cancel in cancels:
        cancel()


def test_many_queries_share_the_ports(rig, udp):
    resolver = make(rig, "udp", udp.target)
    for _ in range(MOST_PORTS * 3):
        rig.ask(resolver)
    rig.settle()
    assert len({port for _, (_, port) in udp.asked}) == MOST_PORTS
    resolver.close()


def test_what_does_not_match_is_dropped_and_every_match_handed_on(rig, udp):
    resolver = make(rig, "udp", udp.target)
    cancel = rig.ask(resolver)
    rig.settle()
    asked = udp.asked[0][0]
    good = answer(asked, "192.0.2.1")
    forged = [
        b"",
        good[:11],
        bytes([good[0] ^ 1]) + good[1:],  # another identifier
        asked,  # no response
    ]
    for message in forged:
        udp.say(message)
    rig.settle()
    assert (rig.heard, resolver.dropped) == ([], len(forged))
    for address in ("192.0.2.66", "192.0.2.1"):  # the first may be an injector's: who asked decides
        udp.say(answer(asked, address))
    rig.settle()
    assert [reply[-15:-11] for reply, _ in rig.heard] == [bytes([192, 0, 2, 66]), bytes([192, 0, 2, 1])]
    cancel()
    udp.say(good)  # nobody is there any more
    rig.settle()
    assert len(rig.heard) == 2


def test_a_second_try_is_plain_and_takes_any_letters(rig, udp):
    resolver = make(rig, "udp", udp.target)
    cancel = rig.ask(resolver)
    rig.settle()
    rig.wait(AGAIN)
    (first, where), (second, again) = udp.asked
    assert (where, first[:2], first[12:29].lower()) == (again, second[:2], second[12:29])
    udp.say(answer(second, "192.0.2.1").replace(second[12:29], second[12:29].upper()))
    rig.settle()
    assert len(rig.heard) == 1
    cancel()


def test_a_resolver_that_does_not_keep_the_case_is_asked_plainly(rig, udp):
    resolver = make(rig, "udp", udp.target)
    cancel = rig.ask(resolver)
    rig.settle()
    mixed_name = udp.asked[0][0][12:29]
    udp.say(answer(udp.asked[0][0], "192.0.2.66").replace(mixed_name, mixed_name.lower()))
    rig.settle()
    assert (rig.heard, len(udp.asked)) == ([], 2)
    udp.say(answer(udp.asked[1][0], "192.0.2.1"))
    rig.settle()
    assert len(rig.heard) == 1
    cancel()
    for _ in range(5):
        rig.ask(resolver)
    rig.settle()
    assert {message[12:29] for message, _ in udp.asked[2:]} == {query()[12:29]}
    resolver.close()


class PlainCodec:
    """A proxy that changes nothing."""

    def seal(self, peer, payload):
        return payload

    def open_untrusted(self, datagram):
        return Endpoint(b"xxxx", 53), memoryview(datagram)


class Proxy(DirectOutbound):
    """A server whose UDP leads to one place, whatever is asked for."""

    def __init__(self, target: Endpoint) -> None:
        self.target = target

    def datagrams(self):
        return DatagramRoute((address_of(self.target),), PlainCodec(), "proxy")


def test_a_proxy_that_carries_no_udp_is_asked_over_tcp(rig, udp, tcp):
    resolver = make(rig, "udp", tcp.target, Proxy(udp.target))
    cancels = [rig.ask(resolver), rig.ask(resolver, query("b.test"))]
    rig.settle()
    assert len({port for _, (_, port) in udp.asked}) == 1  # one association
    rig.wait(AGAIN)
    assert len(tcp.asked) == 2
    tcp.say(answer(tcp.asked[0], "192.0.2.1"))
    udp.say(answer(udp.asked[-1][0], "192.0.2.2"))  # and whatever comes first counts
    rig.settle()
    assert len(rig.heard) == 2
    for cancel in cancels:
        cancel()
    resolver.close()
    rig.settle()


def test_silence_ends(rig, udp):
    resolver = make(rig, "udp", udp.target)
    rig.ask(resolver)
    rig.settle()
    rig.wait(PATIENCE)
    assert rig.ended == [f"no answer for {PATIENCE:g} seconds"]
    assert rig.heard == []


def test_a_truncated_reply_is_asked_for_over_tcp(rig, both):
    udp, server = both
    resolver = make(rig, "udp", udp.target)
    cancel = rig.ask(resolver)
    rig.settle()
    short = bytearray(answer(udp.asked[0][0]))
    short[2] |= 2
    udp.say(bytes(short))
    rig.settle()
    server.say(answer(server.asked[0], "192.0.2.1"))
    rig.settle()
    assert len(rig.heard) == 1
    cancel()
    resolver.close()
    rig.settle()


class Associating(DirectOutbound):
    """Carries datagrams only by association, as SOCKS5 does."""

    def datagrams(self):
        return Association((), lambda _: None, "socks5://")


def test_through_a_proxy_whose_datagrams_need_an_association_tcp_is_asked_and_nothing_goes_around_it(rig, both):
    udp, server = both
    resolver = make(rig, "udp", udp.target, Associating())
    cancel = rig.ask(resolver)
    rig.settle()
    assert udp.asked == []
    server.say(answer(server.asked[0], "192.0.2.1"))
    rig.settle()
    assert len(rig.heard) == 1
    cancel()
    resolver.close()
    rig.settle()


def test_a_port_that_nobody_listens_on_ends_at_once(rig):
    with nobody_at(socket.SOCK_DGRAM) as gone:
        rig.ask(make(rig, "udp", endpoint(*gone)))
        rig.settle()
    assert rig.ended == ["Connection refused"]


def test_a_dialer_that_blocks_ends(rig, udp):
    for transport in ("udp", "tcp"):
        rig.ask(make(rig, transport, udp.target, BlockOutbound()))
    rig.settle()
    assert len(rig.ended) == 2
    assert all("block" in why for why in rig.ended)


def test_a_changed_network_gets_fresh_sockets(rig, udp):
    resolver = make(rig, "udp", udp.target)
    cancel = rig.ask(resolver)
    rig.settle()
    resolver.reconnect()
    rig.settle()
    assert len({port for _, (_, port) in udp.asked}) == 2
    udp.say(answer(udp.asked[1][0], "192.0.2.1"))
    rig.settle()
    assert len(rig.heard) == 1
    cancel()


def test_one_connection_carries_all_queries(rig, tcp):
    resolver = make(rig, "tcp", tcp.target)
    for number in range(5):
        rig.ask(resolver, query(f"n{number}.test"))
    rig.settle()
    assert (tcp.accepted, len(tcp.asked)) == (1, 5)
    for asked in reversed(tcp.asked):
        tcp.say(answer(asked, "192.0.2.1"))
    rig.settle()
    assert len(rig.heard) == 5
    rig.wait(IDLE_CLOSE)
    assert tcp.connections == []


def test_a_connection_that_breaks_is_made_again_once(rig, tcp):
    resolver = make(rig, "tcp", tcp.target)
    rig.ask(resolver)
    rig.settle()
    tcp.hang_up()
    rig.settle()
    assert (tcp.accepted, tcp.asked[0]) == (2, tcp.asked[1])
    tcp.hang_up()
    rig.settle()
    assert (tcp.accepted, rig.ended) == (2, ["the connection was closed"])


def test_a_dead_connection_is_dropped(rig, tcp):
    resolver = make(rig, "tcp", tcp.target)
    rig.ask(resolver)
    rig.settle()
    rig.wait(PATIENCE)
    rig.settle()
    assert (rig.ended, tcp.connections) == ([f"no answer for {PATIENCE:g} seconds"], [])


def test_messages_that_answer_nothing_do_no_harm(rig, tcp):
    resolver = make(rig, "tcp", tcp.target)
    rig.ask(resolver)
    rig.settle()
    asked = tcp.asked[0]
    for bad in (b"", b"x", bytes([asked[0] ^ 1]) + answer(asked)[1:], asked, answer(asked).replace(b"org", b"com")):
        tcp.say(bad)
    rig.settle()
    assert (rig.heard, rig.ended) == ([], [])
    tcp.say(answer(asked, "192.0.2.1"))
    rig.settle()
    assert len(rig.heard) == 1
    resolver.close()
    rig.settle()


def test_a_resolver_by_name_is_looked_up_once(rig, tcp):
    looked_up = []

    def bootstrap(name, then):
        looked_up.append(name)
        rig.reactor.call_soon(lambda: then(tcp.target.host if len(looked_up) > 1 else None))

    resolver = make(rig, "tcp", Endpoint("dns.test", tcp.target.port), bootstrap=bootstrap)
    rig.ask(resolver)
    rig.settle()
    assert rig.ended == ["its name dns.test cannot be looked up"]
    for _ in range(2):
        rig.ask(resolver)
        rig.settle()
    assert (looked_up, len(tcp.asked)) == (["dns.test", "dns.test"], 2)
    resolver.close()
    rig.settle()


# Groups.


class Member:
    """A resolver that a test speaks for."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.asks = []
        self.messages = []
        self.cancelled = 0

    def ask(self, query, heard, ended):
        self.asks.append((heard, ended))
        self.messages.append(query)

        def cancel():
            self.cancelled += 1

        return cancel

    def reconnect(self):
        pass

    def close(self):
        pass


def group_of(rig: Rig, count: int, race: bool = False):
    members = [Member(f"m{number}") for number in range(count)]
    return ResolverGroup(rig.reactor, "g", members, race), members


def test_the_next_is_asked_when_one_is_slow_and_whoever_answers_is_heard(rig):
    group, (first, second) = group_of(rig, 2)
    cancel = rig.ask(group)
    assert (len(first.asks), len(second.asks)) == (1, 0)
    rig.wait(STAGGER)
    assert len(second.asks) == 1
    first.asks[0][0](answer(query(), "192.0.2.1"), "m0", rig.reactor.now)
    assert len(rig.heard) == 1
    cancel()
    assert (first.cancelled, second.cancelled) == (1, 1)


@pytest.mark.parametrize("code", [1, 4])
def test_one_that_does_not_know_edns_is_asked_again_without(rig, code):
    group, (first, second) = group_of(rig, 2)
    rig.ask(group)
    assert dns.message.from_wire(first.messages[0]).edns == 0
    heard, ended = first.asks[0]
    heard(answer(query(), code=code), "m0", rig.reactor.now)
    ended("its answer was not taken", rig.reactor.now)
    assert (first.cancelled, len(second.asks)) == (1, 0)
    again = dns.message.from_wire(first.messages[1])
    assert (again.edns, again.question) == (-1, dns.message.from_wire(query()).question)
    first.asks[1][0](answer(first.messages[1], "192.0.2.1"), "m0", rig.reactor.now)
    assert len(rig.heard) == 1


@pytest.mark.parametrize("code", [1, 4])
def test_one_that_refuses_without_edns_too_is_passed_over(rig, code):
    group, (first, second) = group_of(rig, 2)
    rig.ask(group)
    for number in range(2):
        first.asks[number][0](answer(first.messages[number], code=code), "m0", rig.reactor.now)
    assert (len(first.asks), len(second.asks)) == (2, 1)


@pytest.mark.parametrize("code", [2, 5])
def test_one_that_cannot_is_passed_over(rig, code):
    group, (first, second) = group_of(rig, 2)
    rig.ask(group)
    first.asks[0][0](answer(query(), code=code), "m0", rig.reactor.now)
    assert (rig.heard, len(second.asks)) == ([], 1)
    second.asks[0][0](answer(query(), code=3), "m1", rig.reactor.now)  # no such name is an answer
    assert len(rig.heard) == 1
    rig.ask(group)()  # about another name it may be able to
    assert (len(first.asks), len(second.asks)) == (2, 1)


def test_one_that_cannot_be_reached_is_asked_last_for_a_while(rig):
    group, (first, second) = group_of(rig, 2)
    cancel = rig.ask(group)
    first.asks[0][1]("gone", rig.reactor.now)
    cancel()
    rig.ask(group)()
    assert (len(first.asks), len(second.asks)) == (1, 2)
    rig.wait(BENCHED)
    rig.ask(group)()
    assert (len(first.asks), len(second.asks)) == (2, 2)


def test_a_group_ends_when_all_have(rig):
    group, (first, second) = group_of(rig, 2)
    rig.ask(group)
    first.asks[0][1]("gone", rig.reactor.now)
    assert rig.ended == []
    second.asks[0][1]("gone too", rig.reactor.now)
    assert rig.ended == ["m1: gone too"]


def test_a_race_asks_all_at_once(rig):
    group, members = group_of(rig, 3, race=True)
    rig.ask(group)
    assert [len(member.asks) for member in members] == [1, 1, 1]
    members[1].asks[0][1]("gone", rig.reactor.now)
    assert rig.ended == []


def test_letters_are_mixed_in_letters_only():
    name, draw = b"\3w-w\7ex4mple\3org\0", Random(1).getrandbits
    seen = {mixed(name, draw) for _ in range(50)}
    assert len(seen) > 20
    assert {each.lower() for each in seen} == {name}


def test_a_connection_through_a_server_that_is_no_longer_chosen_is_left(rig, tcp):
    """Where queries never cease it would stay for ever; what waits there is asked through the other."""
    way = DirectOutbound()
    resolver = FollowingResolver(make(rig, "tcp", tcp.target), lambda: way)
    for _ in range(2):
        rig.ask(resolver)
        rig.settle()
    assert (tcp.accepted, len(tcp.asked)) == (1, 2)
    way = DirectOutbound()
    rig.ask(resolver)
    rig.settle()
    assert (tcp.accepted, len(tcp.asked)) == (2, 5)
    resolver.close()
