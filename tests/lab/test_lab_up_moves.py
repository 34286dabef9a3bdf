"""The network around a running tunnel changes: it finds its way again, keeps what can be kept, and nothing leaks."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest
from bench.netlab.namespaces import SITE4, SITE6, ip
from bench.netlab.tunnel import shadowsocks_url
from lab_support import ECHO
from lab_system import System, client
from lab_uplinks import UplinkLab, until

pytestmark = pytest.mark.lab


class Held:
    """A flow through the tunnel that a program on the host holds open."""

    def __init__(self, system: System, host: str = SITE4) -> None:
        self.process = subprocess.Popen(
            system.host.command(client("held_flow", host, ECHO)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.says() == "open"

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def is_alive(self) -> bool:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.says() == "alive"

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def hold(system: System) -> Iterator[Callable[..., Held]]:
    held: list[Held] = []

    def make(host: str = SITE4) -> Held:
        held.append(Held(system, host))
        return held[-1]

    yield make
    for each in held:
        each.end()


def down_first(uplinks: UplinkLab) -> None:
    ip("-n", uplinks.client.name, "link", "set", "eth1", "down")
    uplinks.use_uplink(2)


def take_address(uplinks: UplinkLab) -> None:
    name = uplinks.client.name
    for address in ("10.61.0.1/24", "fd61::1/64"):
        ip("-n", name, "addr", "del", address, "dev", "eth1")
    uplinks.use_uplink(2)


def move_route(uplinks: UplinkLab) -> None:
    uplinks.use_uplink(2)


@pytest.mark.parametrize("change", [move_route, down_first, take_address])
def test_move_to_another_uplink(
    uplinks: UplinkLab, system: System, hold: Callable[..., Held], change: Callable[[UplinkLab], None]
) -> None:
    """The flow on the old path is reset at once, the next one works, the device stays, and nobody sees a leak."""
    system.up("--kill-switch")
    before = system.status()
    flow = hold()
    with uplinks.spied() as leaks:
        change(uplinks)
        assert flow.says() == "reset"
        until(lambda: system.fetch(f"http://{SITE4}/1k", timeout=5) == 1024)
        until(lambda: system.facts()["status"] == "connected")
    assert leaks == []
    after = system.status()
    assert (after["pid"], after["device"]) == (before["pid"], before["device"])
    assert "eth2" in after["path"]
    assert "reasserting" in system.log()
    assert system.fetch(f"http://[{SITE6}]/1k") == 1024


def test_without_any_network_and_back(uplinks: UplinkLab, system: System, hold: Callable[..., Held]) -> None:
    """The gateway is gone and comes back: what was open goes on, as its address never left."""
    system.up()
    flow = hold()
    ip("-n", uplinks.client.name, "route", "del", "default")
    until(lambda: system.facts()["status"] == "reasserting")
    assert system.tunflow("status").returncode == 1
    uplinks.use_uplink(1)
    until(lambda: system.facts()["status"] == "connected")
    assert flow.is_alive()


def test_udp_goes_on(uplinks: UplinkLab, system: System) -> None:
    """One client socket before and after: its relay is another, which it cannot tell."""
    system.up()
    script = client("udp_moving", SITE4, 7007)
    with subprocess.Popen(system.host.command(script), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        assert one.stdin is not None
        assert one.stdout is not None
        assert one.stdout.readline() == "answered\n"
        uplinks.use_uplink(2)
        until(lambda: "connected again" in system.log())
        one.stdin.write("\n")
        one.stdin.flush()
        assert one.stdout.readline() == "answered\n"
        one.stdin.close()


def test_servers_name_is_resolved_again_past_the_tunnel(uplinks: UplinkLab, system: System) -> None:
    system.up("--kill-switch", "--server", shadowsocks_url(host="server.lab"))
    assert system.fetch(f"http://{SITE4}/1k") == 1024
    with uplinks.spied() as seen:
        uplinks.use_uplink(2)
        until(lambda: "connected again" in system.log())
        assert system.fetch(f"http://{SITE4}/1k") == 1024
    assert any("A? server.lab" in line for line in seen), seen
    assert all("server.lab" in line for line in seen), seen


def test_two_changes_in_a_row(uplinks: UplinkLab, system: System) -> None:
    system.up()
    for number in (2, 1, 2, 1):
        uplinks.use_uplink(number)
    until(lambda: system.fetch(f"http://{SITE4}/1k", timeout=5) == 1024)
    until(lambda: system.facts()["status"] == "connected")
