"""What `serve` opens for no client: its own host and links, by whatever name."""

from __future__ import annotations

import socket

import pytest
from server_rig import client_socket, is_reset, receive, running, take, target_socket

from tunflow.addresses import ip_address
from tunflow.endpoint import Endpoint
from tunflow.host.netlink.route_query import RouteQuery
from tunflow.inbound.local_addresses import LocalAddresses

DATAGRAM = socket.SOCK_DGRAM
REASON = "an address of this host or its links, which only --allow-local opens"
NEAR = [
    "127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0",
    "::ffff:169.254.169.254", "::127.0.0.1", "169.254.169.254", "169.254.0.1", "fe80::1", "febf::1", "224.0.0.1",
    "239.255.255.250", "255.255.255.255", "ff02::1", "fd00:ec2::254", "100.100.100.200",
]  # fmt: skip
FAR = ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "10.1.2.3", "169.253.1.1", "fec0::1", "fd00::1", "100.64.0.1"]


def local_addresses() -> LocalAddresses:
    return LocalAddresses(lambda: 0.0)


@pytest.mark.parametrize("address", NEAR)
def test_it_holds_what_is_near(address: str) -> None:
    assert ip_address(address).packed in local_addresses()


@pytest.mark.parametrize("address", FAR)
def test_it_does_not_hold_what_is_far(address: str) -> None:
    assert ip_address(address).packed not in local_addresses()


def test_it_holds_the_addresses_of_every_interface() -> None:
    with RouteQuery() as query:
        own = list(query.addresses())
    assert own
    assert all(address in local_addresses() for address in own)


def test_the_kernel_is_asked_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now, answers = [0.0], [False, True]
    monkeypatch.setattr(RouteQuery, "is_delivered_here", lambda _query, _address: answers.pop(0))
    local = LocalAddresses(lambda: now[0])
    address = ip_address("192.0.2.1").packed
    assert address not in local
    assert address not in local
    now[0] = 6.0
    assert address in local


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433"])
def test_a_stream_to_it_is_reset_and_told_once(host: str) -> None:
    with target_socket() as (listening, target), running(allow_local=False) as rig:
        for _ in range(2):
            client = rig.client(Endpoint(host, target.port))
            client.send(b"hello")
            rig.until(lambda client=client: is_reset(client.socket))
        with pytest.raises(BlockingIOError):
            listening.accept()
        assert rig.lines == [f"cannot reach {host}:{target.port}: {REASON}"]


def test_a_name_with_near_and_far_addresses_is_reached_at_the_far_one() -> None:
    asked: list[bytes] = []

    class Limits:
        def __contains__(self, address: object) -> bool:
            assert isinstance(address, bytes)
            asked.append(address)
            return address == socket.inet_aton("127.0.0.2")

    with target_socket() as (listening, target), running() as rig:
        shared = rig.server.shared
        object.__setattr__(shared, "off_limits", Limits())
        near = socket.inet_aton("127.0.0.2")
        shared.resolver.lookup = lambda _host: (near, target.host)  # type: ignore[return-value]
        rig.client(Endpoint("both.example", target.port)).send(b"hello")
        served = rig.accept(listening)
        rig.until(lambda: take(served) == b"hello")
        assert asked == [near, target.host]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1"])
def test_a_datagram_to_it_is_dropped_and_told_once(host: str) -> None:
    with (
        target_socket(DATAGRAM) as (target, where),
        running(allow_local=False) as rig,
        client_socket(rig) as client,
    ):
        codec = rig.datagrams()
        for _ in range(2):
            client.send(codec.seal(Endpoint(host, where.port), b"x"))
        rig.until(lambda: bool(rig.lines))
        rig.settle()
        with pytest.raises(BlockingIOError):
            target.recv(1)
        (line,) = rig.lines
        assert line.endswith(f":{where.port} was dropped: {REASON}")


def test_what_the_operator_rewrites_is_reached_all_the_same() -> None:
    asked = Endpoint(socket.inet_aton("198.51.100.53"), 53)
    with (
        target_socket() as (listening, stream),
        target_socket(DATAGRAM) as (target, where),
        running(allow_local=False, rewrite={asked: where, asked._replace(port=80): stream}) as rig,
        client_socket(rig) as client,
    ):
        client.send(rig.datagrams().seal(asked, b"q"))
        assert receive(rig, target)[0] == b"q"
        rig.client(asked._replace(port=80)).send(b"")
        rig.accept(listening).close()
