"""The server's UDP side on loopback."""

from __future__ import annotations

import socket

import pytest
from server_rig import client_socket, receive, running, target_socket

from tunflow.endpoint import Endpoint
from tunflow.inbound import udp as server_udp
from tunflow.inbound.budget import KEPT_FREE
from tunflow.inbound.udp import endpoint_of
from tunflow.protocols.shadowsocks.methods import METHODS

DATAGRAM = socket.SOCK_DGRAM


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_datagram_goes_and_its_answer_comes_from_where_it_went(host: str) -> None:
    with running() as rig, target_socket(DATAGRAM, host) as (target, where), client_socket(rig) as client:
        codec = rig.datagrams()
        client.send(codec.seal(where, b"question"))
        data, back = receive(rig, target)
        assert data == b"question"
        target.sendto(b"answer", back)
        source, payload = codec.open_untrusted(receive(rig, client)[0])
        assert (source, bytes(payload)) == (where, b"answer")


@pytest.mark.parametrize("method", [name for name, known in METHODS.items() if known.is_2022])
def test_a_session_of_the_2022_edition_moves_with_its_client(method: str) -> None:
    with running(method) as rig, target_socket(DATAGRAM) as (target, where):
        codec = rig.datagrams()
        outer = set()
        for _ in range(2):
            with client_socket(rig) as client:  # SIP022 §3.2.3: a client may change its address
                client.send(codec.seal(where, b"question"))
                data, back = receive(rig, target)
                assert data == b"question"
                outer.add(back)
                target.sendto(b"answer", back)
                assert codec.open_untrusted(receive(rig, client)[0]) == (where, b"answer")
        assert len(outer) == 1
        other = rig.datagrams()
        with client_socket(rig) as client:
            client.send(other.seal(where, b"another session"))
            assert receive(rig, target)[1] not in outer


def test_full_cone_anybody_may_answer() -> None:
    with (
        running() as rig,
        target_socket(DATAGRAM) as (target, where),
        target_socket(DATAGRAM) as (other, elsewhere),
        client_socket(rig) as client,
    ):
        codec = rig.datagrams()
        client.send(codec.seal(where, b"1"))
        _, mapped = receive(rig, target)
        client.send(codec.seal(elsewhere, b"2"))
        assert receive(rig, other)[1] == mapped, "one mapping for every target"
        with target_socket(DATAGRAM) as (stranger, nowhere):
            stranger.sendto(b"hello", mapped)
            source, payload = codec.open_untrusted(receive(rig, client)[0])
            assert (source, bytes(payload)) == (nowhere, b"hello")


def test_names_are_resolved() -> None:
    with running() as rig, target_socket(DATAGRAM) as (target, where), client_socket(rig) as client:
        rig.server.shared.resolver.lookup = lambda _host: (where.host,)  # type: ignore[return-value]
        for payload in (b"first", b"second"):
            client.send(rig.datagrams().seal(Endpoint("a.name", where.port), payload))
        assert {receive(rig, target)[0], receive(rig, target)[0]} == {b"first", b"second"}


def test_rewrite_goes_there_and_back() -> None:
    asked = Endpoint(socket.inet_aton("198.51.100.53"), 53)
    with (
        target_socket(DATAGRAM) as (target, where),
        running(rewrite={asked: where}) as rig,
        client_socket(rig) as client,
    ):
        codec = rig.datagrams()
        client.send(codec.seal(asked, b"q"))
        target.sendto(b"a", receive(rig, target)[1])
        assert codec.open_untrusted(receive(rig, client)[0])[0] == asked


def test_a_wrong_key_and_a_replay_are_dropped_without_an_answer() -> None:
    with running() as rig, target_socket(DATAGRAM) as (target, where), client_socket(rig) as client:
        client.send(rig.datagrams("wrong").seal(where, b"x"))
        client.send(b"short")
        good = rig.datagrams().seal(where, b"once")
        client.send(good)
        client.send(good)
        rig.until(lambda: rig.server.counters.refused == 3)
        assert receive(rig, target)[0] == b"once"
        rig.settle()
        with pytest.raises(BlockingIOError):
            target.recv(1)
        with pytest.raises(BlockingIOError):
            client.recv(1)
        assert len(rig.lines) == 3  # one for each cause


def test_associations_end_five_minutes_after_their_last_datagram() -> None:
    with (
        running() as rig,
        target_socket(DATAGRAM) as (_, where),
        client_socket(rig) as first,
        client_socket(rig) as second,
    ):
        first.send(rig.datagrams().seal(where, b"x"))
        second.send(rig.datagrams().seal(where, b"x"))
        rig.until(lambda: rig.server.descriptors_used == 2)
        rig.ahead = 200
        first.send(rig.datagrams().seal(where, b"again"))
        rig.reactor.run_once(0)
        rig.ahead = 302
        rig.reactor.run_once(0)
        assert rig.server.descriptors_used == 1
        rig.ahead = 501
        rig.reactor.run_once(0)
        assert rig.server.descriptors_used == 0
        first.send(rig.datagrams().seal(where, b"anew"))
        rig.until(lambda: rig.server.descriptors_used == 1)


@pytest.mark.parametrize("bound_by", ["count", "descriptors"])
def test_associations_are_bounded_and_the_oldest_goes_first(bound_by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {}
    if bound_by == "count":
        monkeypatch.setattr(server_udp, "ASSOCIATIONS_AT_MOST", 8)
    else:
        options["descriptors"] = KEPT_FREE + 8
    with running(**options) as rig, target_socket(DATAGRAM) as (_, where):
        clients = [socket.socket(socket.AF_INET, DATAGRAM) for _ in range(12)]
        for client in clients:
            client.sendto(rig.datagrams().seal(where, b"x"), ("127.0.0.1", rig.port))
        rig.until(lambda: rig.server.counters.associations == 12)
        assert rig.server.descriptors_used == 8
        held = {client[1] for client in rig.server.associated}
        assert held == {client.getsockname()[1] for client in clients[4:]}
        for client in clients:
            client.close()


def test_what_cannot_be_sent_is_lost_and_told_once() -> None:
    with running() as rig, client_socket(rig) as client:
        for _ in range(3):
            client.send(rig.datagrams().seal(Endpoint(socket.inet_aton("127.0.0.1"), 0), b"to port 0"))
        rig.until(lambda: rig.server.counters.associations == 1)
        rig.settle()
        assert len(rig.lines) == 1
        assert "Invalid argument" in rig.lines[0]


def test_ipv4_written_as_ipv6_is_ipv4_again() -> None:
    assert endpoint_of(("::ffff:192.0.2.7", 5, 0, 0)) == Endpoint(socket.inet_aton("192.0.2.7"), 5)
    assert str(endpoint_of(("fe80::1%eth0", 5, 0, 2))) == "[fe80::1]:5"
