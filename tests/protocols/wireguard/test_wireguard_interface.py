"""Whole interfaces in virtual time: sessions, rekeys, roaming, loss, strangers, floods."""

from __future__ import annotations

import itertools
import random
from ipaddress import ip_network

import pytest
from wireguard_world import MTU, World, packet, pair, to_client, to_server

from cost import resident_memory
from tunflow.endpoint import Endpoint, endpoint
from tunflow.protocols.wireguard import timers
from tunflow.protocols.wireguard.load import HANDSHAKES_A_SECOND
from tunflow.protocols.wireguard.messages import COOKIE_REPLY, INITIATION, RESPONSE, TRANSPORT
from tunflow.protocols.wireguard.peer import MAX_STAGED, EventKind

STRANGER = endpoint("203.0.113.7", 999)


def kinds(world: World, since: int = 0) -> list[int]:
    return [data[0] for _, _, _, data in world.sent[since:]]


@pytest.mark.parametrize("preshared", [b"", b"p" * 32])
def test_the_first_packet_makes_a_session_and_is_not_lost(preshared: bytes):
    world = World()
    client, server = pair(world, preshared=preshared)
    world.send(client, [to_server(b"1"), to_server(b"22")])
    world.run(1.0)
    assert world.received[server] == [to_server(b"1"), to_server(b"22")]
    assert kinds(world) == [INITIATION, RESPONSE, TRANSPORT, TRANSPORT]
    world.send(server, [to_client(b"x" * 1400)])
    world.run(2.0)
    assert world.received[client] == [to_client(b"x" * 1400)]
    assert world.events[client] == world.events[server] == [EventKind.SESSION]
    peer = client.peers[server.identity.public]
    assert peer.bytes_sent == 148 + 2 * (32 + 32)
    assert peer.bytes_received == 92 + 32 + 1420


def test_padding_keeps_inside_the_mtu_and_is_taken_off():
    world = World()
    client, server = pair(world)
    sizes = [20, 21, 35, 36, MTU - 5, MTU - 1, MTU]
    sent = [packet("10.0.0.2", "10.0.0.1", b"p" * (size - 20)) for size in sizes]
    world.send(client, sent)
    world.run(1.0)
    assert world.received[server] == sent
    sealed = [len(data) for _, _, _, data in world.sent if data[0] == TRANSPORT]
    assert sealed == [32 + size for size in (32, 32, 48, 48, MTU, MTU, MTU)]


def test_a_lone_packet_is_answered_by_a_keepalive_once():
    world = World()
    client, _server = pair(world)
    world.send(client, [to_server()])
    world.run(60.0)
    times = [(round(when, 1), data[0], len(data)) for when, _, _, data in world.sent]
    assert times == [(0.0, INITIATION, 148), (0.0, RESPONSE, 92), (0.0, TRANSPORT, 64), (10.0, TRANSPORT, 32)]


def test_twenty_four_hours_of_traffic_with_rekeys_and_no_lost_packet():
    world = World()
    client, server = pair(world)
    moment, number = 0.0, 0
    while moment < 24 * 3600:
        number += 1
        world.send(client, [to_server(number.to_bytes(4, "big"))])
        world.send(server, [to_client(number.to_bytes(4, "big"))]) if number > 1 else None
        moment += 4.3
        world.run(moment)
    assert len(world.received[server]) == number
    assert len(world.received[client]) == number - 1
    assert len(set(world.received[server])) == number
    handshakes = kinds(world).count(RESPONSE)
    assert 24 * 3600 / 125 <= handshakes <= 24 * 3600 / timers.REKEY_AFTER_TIME + 1
    assert world.events[client] == [EventKind.SESSION] * handshakes
    assert client.sessions <= 3
    assert world.under_way == 0


def test_what_the_server_alone_sends_is_rekeyed_by_the_client_in_time():
    world = World()
    client, server = pair(world)
    world.send(client, [to_server()])
    for second in range(1, 3600):
        world.run(float(second))
        world.send(server, [to_client(second.to_bytes(4, "big"))])
    world.run(3601.0)
    assert len(world.received[client]) == 3599


def test_an_idle_tunnel_is_silent_and_its_keys_are_erased():
    world = World()
    client, server = pair(world)
    world.send(client, [to_server()])
    world.run(30.0)
    before = len(world.sent)
    world.run(24 * 3600.0)
    assert len(world.sent) == before
    assert client.sessions == 0
    assert server.sessions == 0
    assert client.next_timeout() is None
    world.send(client, [to_server(b"again")])
    world.run(world.now + 1)
    assert world.received[server][-1] == to_server(b"again")


def test_a_persistent_keepalive_goes_on_while_nothing_is_sent():
    world = World()
    client, server = pair(world, keepalive=25)
    client.start(0.0)
    world.collect(client)
    world.run(100.0)
    assert world.events[server] == [EventKind.SESSION]
    client_sent = [when for when, source, _, data in world.sent if source == world.where(client) and len(data) == 32]
    assert [round(when) for when in client_sent] == [0, 25, 50, 75]


def test_nobody_answers():
    world = World()
    client, server = pair(world)
    world.wire = lambda source, to, data: None
    world.send(client, [to_server()] * (MAX_STAGED + 10))
    world.run(89.0)
    tries = [when for when, _, _, _ in world.sent]
    gaps = [later - sooner for sooner, later in itertools.pairwise(tries)]
    assert all(timers.REKEY_TIMEOUT <= gap <= timers.REKEY_TIMEOUT + timers.REKEY_TIMEOUT_JITTER for gap in gaps)
    world.run(120.0)
    assert len(world.sent) == timers.MAX_TIMER_HANDSHAKES + 1
    assert world.events[client][-1] is EventKind.GAVE_UP
    world.run(200.0)
    assert len(world.sent) == timers.MAX_TIMER_HANDSHAKES + 1
    world.wire = lambda source, to, data: data
    world.send(client, [to_server(b"now")])
    world.run(201.0)
    assert world.received[server] == [to_server(b"now")]


def test_a_lost_response_costs_five_seconds_and_no_packet():
    world = World()
    client, server = pair(world)
    lost = iter([True])
    world.wire = lambda source, to, data: None if data[0] == RESPONSE and next(lost, False) else data
    world.send(client, [to_server(b"waits")])
    world.run(6.0)
    assert world.received[server] == [to_server(b"waits")]
    assert world.events[client] == [EventKind.NO_ANSWER, EventKind.SESSION]


def test_a_server_that_was_restarted_is_noticed_in_fifteen_seconds():
    world = World()
    client, server = pair(world)
    world.send(client, [to_server()])
    world.run(1.0)
    for peer in server.peers.values():
        peer.erase_keys()
    for second in range(2, 40):
        world.send(client, [to_server(second.to_bytes(2, "big"))])
        world.run(float(second))
    missing = [second for second in range(2, 40) if to_server(second.to_bytes(2, "big")) not in world.received[server]]
    assert missing
    assert max(missing) <= 18


@pytest.mark.parametrize("seed", range(5))
def test_both_begin_at_the_same_moment(seed: int):
    world = World(seed)
    client, server = pair(world)
    server.peers[client.identity.public].endpoint = world.where(client)
    world.send(client, [to_server(b"1")])
    world.send(server, [to_client(b"1")])
    world.run(0.5)
    for number in (2, 3):
        world.send(client, [to_server(bytes((number,)))])
        world.send(server, [to_client(bytes((number,)))])
        world.run(world.now + 0.5)
    assert len(world.received[server]) == len(world.received[client]) == 3


@pytest.mark.parametrize("seed", range(5))
def test_a_wire_that_loses_reorders_repeats_and_flips_bits(seed: int):
    world = World(seed)
    client, server = pair(world)
    chance = random.Random(seed)

    def bad(source: Endpoint, to: Endpoint, data: bytes) -> bytes | None:
        world.delay = chance.uniform(0.001, 0.3)
        lot = chance.random()
        if lot < 0.1:
            return None
        if lot < 0.2:
            broken = bytearray(data)
            broken[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            return bytes(broken)
        if lot < 0.3:
            world.repeat(source, to, data, 0.5)
        return data

    world.wire = bad
    sent = []
    for number in range(2000):
        sent.append(to_server(number.to_bytes(4, "big")))
        world.send(client, [sent[-1]])
        world.run(world.now + 0.25)
    world.run(world.now + 10)
    received = world.received[server]
    assert len(received) == len(set(received))
    assert set(received) <= set(sent)
    assert len(received) > 1400


def test_every_flipped_bit_of_a_data_message_is_dropped():
    world = World()
    client, server = pair(world)
    world.send(client, [to_server()])
    world.run(1.0)
    client.send_untrusted([to_server(b"target")], world.now)
    (outgoing,) = client.drain_datagrams()
    data = bytes(outgoing.datagrams[0])
    for bit in range(len(data) * 8):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        server.receive_untrusted([bytes(broken)], STRANGER, world.now)
    assert server.drain_packets() == []
    assert server.peers[client.identity.public].endpoint == world.where(client)
    server.receive_untrusted([data, data], world.where(client), world.now)
    assert [bytes(each) for each in server.drain_packets()] == [to_server(b"target")]


def test_a_recorded_day_is_replayed_in_vain():
    world = World()
    client, server = pair(world)
    world.send(client, [to_server()])
    world.run(1.0)
    for number in range(20):
        world.send(client, [to_server(bytes((number,)))])
        world.run(world.now + 30)
    recorded = [data for _, source, _, data in world.sent if source == world.where(client)]
    received, since = len(world.received[server]), len(world.sent)
    world.inject(server, recorded, STRANGER)
    assert len(world.received[server]) == received
    assert len(world.sent) == since
    assert server.peers[client.identity.public].endpoint == world.where(client)


def test_roaming_is_followed_from_the_first_authenticated_message():
    world = World()
    client, server = pair(world)
    world.send(client, [to_server()])
    world.run(1.0)
    world.move(client, "198.51.100.3", 1234)
    world.send(client, [to_server(b"moved")])
    world.run(2.0)
    since = len(world.sent)
    world.send(server, [to_client(b"found")])
    world.run(3.0)
    assert world.received[client] == [to_client(b"found")]
    assert kinds(world, since) == [TRANSPORT]


def test_who_announces_itself_is_found_without_sending_a_packet():
    world = World()
    client, server = pair(world)
    client.announce(world.now)
    world.collect(client)
    assert world.sent == []
    world.send(client, [to_server()])
    world.run(1.0)
    world.move(client, "198.51.100.3", 1234)
    client.announce(world.now)
    world.collect(client)
    world.run(2.0)
    assert server.peers[client.identity.public].endpoint == endpoint("198.51.100.3", 1234)


def test_strangers_hear_nothing():
    world = World()
    _client, server = pair(world)
    stranger = world.interface("203.0.113.7")
    stranger.add_peer(server.identity.public, allowed_ips=[ip_network("0.0.0.0/0")], endpoint=world.where(server))
    world.send(stranger, [to_server()])
    world.run(30.0)
    assert {source for _, source, _, _ in world.sent} == {world.where(stranger)}
    assert server.dropped_in == len(world.sent)
    assert server.sessions == 0


def test_a_peer_with_another_preshared_key_gets_no_session():
    world = World()
    client, server = pair(world, preshared=b"p" * 32)
    client.add_peer(server.identity.public, preshared=b"q" * 32, allowed_ips=[ip_network("0.0.0.0/0")],
                    endpoint=world.where(server))  # fmt: skip
    world.send(client, [to_server()])
    world.run(30.0)
    assert world.received[server] == []
    assert EventKind.SESSION not in world.events[client] + world.events[server]


def test_each_peer_sends_from_its_own_addresses_only():
    world = World()
    client, server = pair(world)
    world.send(client, [packet("10.0.0.99", "10.0.0.1", b"not mine"), packet("10.0.0.2", "10.0.0.1", b"mine")])
    world.run(1.0)
    assert world.received[server] == [packet("10.0.0.2", "10.0.0.1", b"mine")]
    assert server.dropped_in == 1
    world.send(server, [packet("10.0.0.1", "10.0.0.99", b"nobody's")])
    assert server.dropped_out == 1


def test_lengths_that_lie_are_dropped():
    world = World()
    client, server = pair(world)
    long = bytearray(to_server(b"x" * 40))
    long[2:4] = (2000).to_bytes(2, "big")
    short = bytearray(to_server(b"x" * 40))
    short[2:4] = (10).to_bytes(2, "big")
    world.send(client, [bytes(long), bytes(short), to_server(b"right")])
    world.run(1.0)
    assert world.received[server] == [to_server(b"right")]


def test_several_peers_by_the_longest_prefix():
    world = World()
    hub = world.interface("192.0.2.9")
    peers = [world.interface(f"192.0.2.{number}") for number in (1, 2, 3)]
    for each, networks in zip(peers, (["10.0.0.0/8"], ["10.1.0.0/16", "fd00::/64"], ["10.1.2.0/24"]), strict=True):
        hub.add_peer(each.identity.public, allowed_ips=map(ip_network, networks), endpoint=world.where(each))
        each.add_peer(hub.identity.public, allowed_ips=[ip_network("0.0.0.0/0"), ip_network("::/0")])
    six = bytes((0x60, 0, 0, 0, 0, 2, 59, 64)) + bytes(16) + ip_network("fd00::7/128").network_address.packed + b"v6"
    packets = [packet("10.0.0.1", to, b"x") for to in ("10.9.9.9", "10.1.9.9", "10.1.2.9", "10.1.3.9")]
    world.send(hub, [*packets, six])
    world.run(1.0)
    assert [world.received[each] for each in peers] == [packets[:1], [packets[1], packets[3], six], [packets[2]]]
    hub.remove_peer(peers[1].identity.public)
    world.send(hub, [packet("10.0.0.1", "10.1.9.9", b"wider")])
    world.run(2.0)
    assert world.received[peers[0]][-1] == packet("10.0.0.1", "10.1.9.9", b"wider")


def test_a_thousand_handshakes_at_once():
    world = World()
    server = world.interface("192.0.2.9")
    clients = []
    for number in range(1000):
        host = f"198.18.{number >> 8}.{number & 255}"
        each = world.interface(host)
        each.add_peer(server.identity.public, allowed_ips=[ip_network("0.0.0.0/0")], endpoint=world.where(server))
        inner = f"10.0.{number >> 8}.{number & 255}"
        server.add_peer(each.identity.public, allowed_ips=[ip_network(f"{inner}/32")])
        clients.append((each, packet(inner, "10.9.9.9", b"hello")))
    for each, first in clients:
        world.send(each, [first])
    world.run(4.0)
    assert kinds(world).count(COOKIE_REPLY) == 1000 - HANDSHAKES_A_SECOND
    assert len(world.received[server]) == HANDSHAKES_A_SECOND
    world.run(20.0)
    assert sorted(world.received[server]) == sorted(first for _, first in clients)


def test_a_flood_of_garbage_costs_a_transfer_nothing():
    world = World()
    client, server = pair(world)
    rng = random.Random(5)
    forged = [bytes((kind, 0, 0, 0)) + rng.randbytes(size) for kind, size in ((1, 144), (2, 88), (3, 60), (4, 60))]
    for number in range(500):
        world.send(client, [to_server(number.to_bytes(4, "big"))])
        garbage = [rng.randbytes(rng.randrange(200)) for _ in range(5)]
        world.inject(server, garbage + forged, STRANGER)
        world.run(world.now + 0.05)
    assert len(world.received[server]) == 500
    assert {to for _, source, to, _ in world.sent if source == world.where(server)} == {world.where(client)}


def test_under_load_nobody_is_let_in_without_a_cookie_and_its_reply_is_no_longer_than_the_question():
    world = World()
    client, server = pair(world)
    stranger = world.interface("203.0.113.7")
    stranger.add_peer(server.identity.public, allowed_ips=[ip_network("0.0.0.0/0")], endpoint=world.where(server))
    world.send(stranger, [to_server()])
    initiation = world.sent[0][3]
    world.inject(server, [initiation] * HANDSHAKES_A_SECOND, world.where(stranger))
    assert kinds(world) == [INITIATION]
    world.send(client, [to_server()])
    world.run(0.9)
    assert sorted(kinds(world)) == [INITIATION, INITIATION, COOKIE_REPLY, COOKIE_REPLY]
    assert len(world.sent[-1][3]) < len(initiation)
    world.run(6.0)
    assert world.received[server] == [to_server()]


def test_a_clock_that_is_set_back_does_not_lock_the_client_out():
    world = World()
    client, server = pair(world)
    world.send(client, [to_server(b"1")])
    world.run(1.0)
    world.clock = 0
    world.run(300.0)
    world.send(client, [to_server(b"2")])
    world.run(301.0)
    assert world.received[server] == [to_server(b"1"), to_server(b"2")]


def test_a_removed_peer_is_a_stranger():
    world = World()
    client, server = pair(world)
    world.send(client, [to_server(b"1")])
    world.run(1.0)
    server.remove_peer(client.identity.public)
    world.send(client, [to_server(b"2")])
    world.run(60.0)
    assert world.received[server] == [to_server(b"1")]
    assert server.sessions == 0
    assert server.next_timeout() is None


def test_a_thousand_idle_peers_fit_into_a_hundred_megabytes():
    """Each has a session. The process without them is some 50 MB."""
    world = World()
    server = world.interface("192.0.2.9")
    before = 0
    for number in range(1010):
        client = world.interface("198.51.100.1", 1024 + number)
        inner = f"10.0.{number >> 8}.{number & 255}"
        client.add_peer(server.identity.public, allowed_ips=[ip_network("0.0.0.0/0")], endpoint=world.where(server))
        server.add_peer(client.identity.public, allowed_ips=[ip_network(f"{inner}/32")])
        world.send(client, [packet(inner, "10.9.9.9", b"hello")])
        world.run(world.now + 0.05)
        world.forget(client)
        if number == 9:
            before = resident_memory()
    assert len(world.received[server]) == 1010
    world.received[server].clear()
    assert resident_memory() - before < 25_000_000
