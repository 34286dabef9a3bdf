"""The network monitor and the way out, against the real kernel: a namespace with two uplinks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from ipaddress import ip_address

import pytest
from tun_lab import ip, net_namespace

from tunflow.host.clock_watch import ClockWatch
from tunflow.host.netlink.monitor import NetworkMonitor
from tunflow.host.netlink.route_query import RouteQuery
from tunflow.host.network.uplinks import PathFinder, Uplinks

FAR4, FAR6 = ip_address("192.0.2.9").packed, ip_address("2001:db8::9").packed
WIRE4, WIRE6 = ip_address("10.1.0.1").packed, ip_address("fd01::1").packed
WIFI4 = ip_address("10.2.0.1").packed
MARK = 0x746C


@pytest.fixture
def uplinks():
    with net_namespace():
        ip("link", "set", "lo", "up")
        for number, name in ((1, "wire"), (2, "wifi")):
            ip("link", "add", name, "type", "veth", "peer", "name", f"{name}-far")
            for end in (name, f"{name}-far"):
                ip("link", "set", end, "addrgenmode", "none", "up")
            ip("addr", "add", f"10.{number}.0.1/24", "dev", name)
            ip("addr", "add", f"fd0{number}::1/64", "dev", name, "nodad")
        to_wire()
        yield


def to_wire() -> None:
    ip("route", "replace", "default", "via", "10.1.0.254")
    ip("-6", "route", "replace", "default", "via", "fd01::254")


def path(*servers: bytes, own: str = "tunflow0") -> Uplinks:
    with RouteQuery() as query:
        return PathFinder(query, MARK, own).look(servers)


def surviving(*pairs: tuple[bytes, bytes]) -> set[tuple[bytes, bytes]]:
    with RouteQuery() as query:
        return PathFinder(query, MARK, "tunflow0").surviving(set(pairs))


def test_path_names_interface_source_and_gateway(uplinks: None) -> None:
    assert str(path(FAR4)) == "wire via 10.1.0.254 from 10.1.0.1"
    assert str(path(FAR6)) == "wire via fd01::254 from fd01::1"
    assert str(path()) == "wire via 10.1.0.254 from 10.1.0.1 and wire via fd01::254 from fd01::1"


def test_path_changes_with_the_default_route(uplinks: None) -> None:
    ip("route", "replace", "default", "via", "10.2.0.254")
    assert str(path(FAR4)) == "wifi via 10.2.0.254 from 10.2.0.1"


def test_marked_packets_have_a_path_of_their_own(uplinks: None) -> None:
    ip("route", "add", "default", "via", "10.2.0.254", "table", "77")
    ip("rule", "add", "fwmark", hex(MARK), "lookup", "77")
    assert str(path(FAR4)) == "wifi via 10.2.0.254 from 10.2.0.1"


@pytest.mark.parametrize(
    "cut",
    [
        lambda: ip("route", "del", "default"),
        lambda: ip("link", "set", "wire", "down"),
        lambda: ip("link", "set", "wire-far", "down"),
        lambda: ip("route", "replace", "unreachable", "default"),
    ],
    ids=["no route", "interface down", "no carrier", "unreachable"],
)
def test_no_path(uplinks: None, cut: Callable[[], object]) -> None:
    cut()
    assert not path(FAR4).is_satisfied


def test_the_tunnel_itself_is_no_path(uplinks: None) -> None:
    assert not path(FAR4, own="wire").is_satisfied


def test_flows_survive_while_their_address_is_at_home_where_they_leave(uplinks: None) -> None:
    assert surviving((WIRE4, FAR4), (WIRE6, FAR6)) == {(WIRE4, FAR4), (WIRE6, FAR6)}
    ip("route", "replace", "default", "via", "10.2.0.254")
    assert surviving((WIRE4, FAR4), (WIFI4, FAR4), (WIRE6, FAR6)) == {(WIFI4, FAR4), (WIRE6, FAR6)}


def test_flows_do_not_survive_their_address(uplinks: None) -> None:
    ip("addr", "del", "10.1.0.1/24", "dev", "wire")
    assert surviving((WIRE4, FAR4), (WIRE6, FAR6)) == {(WIRE6, FAR6)}


def test_an_address_of_the_loopback_is_at_home_everywhere(uplinks: None) -> None:
    ip("addr", "add", "10.77.0.1/32", "dev", "lo")
    assert surviving((ip_address("10.77.0.1").packed, FAR4))


class Clock(ClockWatch):
    """The real timer, and a machine that sleeps when told."""

    def __init__(self) -> None:
        self.slept = 0.0
        super().__init__(lambda: self.slept)


def watched(scenario: Callable[[asyncio.Queue[object]], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        heard: asyncio.Queue[object] = asyncio.Queue()
        monitor = NetworkMonitor(lambda: heard.put_nowait("changed"), heard.put_nowait)
        try:
            await asyncio.wait_for(scenario(heard), 60)
        finally:
            monitor.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "change",
    [
        ["link", "set", "wire", "down"],
        ["link", "set", "wire-far", "down"],
        ["addr", "del", "10.1.0.1/24", "dev", "wire"],
        ["addr", "add", "fd01::2/64", "dev", "wire", "nodad"],
        ["route", "del", "default"],
        ["-6", "route", "replace", "default", "via", "fd02::254"],
    ],
    ids=" ".join,
)
def test_changes_are_told(uplinks: None, change: list[str]) -> None:
    async def scenario(heard: asyncio.Queue[object]) -> None:
        ip(*change)
        assert await heard.get() == "changed"

    watched(scenario)


def test_a_burst_is_told_once_and_a_flood_loses_nothing(uplinks: None) -> None:
    async def scenario(heard: asyncio.Queue[object]) -> None:
        for number in range(30):
            ip("route", "add", f"10.50.{number}.0/24", "via", "10.1.0.254")
        assert await heard.get() == "changed"
        assert heard.empty()
        ip("route", "del", "default")
        assert await heard.get() == "changed"

    watched(scenario)


def test_sleep_is_the_time_that_one_clock_counts_and_the_other_does_not() -> None:
    clock = Clock()
    assert clock.handle() == 0.0  # the wall clock was set
    clock.slept = 3600.0
    assert clock.handle() == 3600.0
    assert clock.handle() == 0.0
    clock.close()
