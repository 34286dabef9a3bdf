from __future__ import annotations

import os
import subprocess
import traceback
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

import pytest
from host_lab import ADDRESSES, SETTINGS, host, run, snapshot, way

from cost import lines_executed
from tunflow.errors import LocalError
from tunflow.host.network.network import HostNetwork, undo_recorded

WITH_ALL = replace(
    SETTINGS,
    kill_switch=True,
    carry_dns=True,
    servers=(ip_address("203.0.113.5"),),
    gateways=("docker0",),
    excluded=(ip_network("198.51.100.0/24"),),
)


@host()
def test_what_goes_where(tmp_path: Path) -> None:
    network = HostNetwork(tmp_path / "state")
    network.apply(replace(SETTINGS, excluded=(ip_network("198.51.100.0/24"), ip_network("2001:db8:e::/48"))))
    for destination in ("8.8.8.8", "192.168.1.7", "198.18.0.2", "2001:db8:1::7", "2600::1", "fd74:756e:666c:6f77::2"):
        assert way(destination) == "tunflow0", destination
    for destination in ("198.51.100.7", "2001:db8:e::1"):
        assert way(destination) == "eth0", destination
    for destination in ("172.17.0.9", "2001:db8:d0::9"):
        assert way(destination) == "docker0", destination
    for destination in ("100.100.1.1", "2001:db8:99::1"):
        assert way(destination) == "vpn0", destination
    assert way("8.8.8.8", "mark", "0x2740") == way("2600::1", "mark", "0x2740") == "eth0"
    network.undo()


@host()
def test_our_own_packets_never_fall_back_into_the_tunnel(tmp_path: Path) -> None:
    network = HostNetwork(tmp_path / "state")
    network.apply(SETTINGS)
    run("ip route del default; ip -6 route del default")
    for destination in ("8.8.8.8", "2600::1"):
        assert "unreachable" in way(destination, "mark", "0x2740").lower()
    network.undo()


@host()
def test_our_own_packets_take_the_way_out_that_is_in_another_table(tmp_path: Path) -> None:
    """As mwan, multi-homed hosts and some cloud images have it."""
    run("ip route del default; ip -6 route del default")
    for version, gateway in (("-4", "192.168.1.1"), ("-6", "2001:db8:1::1")):
        run(f"ip {version} route add default via {gateway} table 100; ip {version} rule add table 100 pref 20000")
    before = snapshot()
    network = HostNetwork(tmp_path / "state")
    network.apply(SETTINGS)
    for destination in ("8.8.8.8", "2600::1"):
        assert way(destination) == "tunflow0"
        assert way(destination, "mark", "0x2740") == way(destination, "mark", "0x2741") == "eth0"
    assert way("192.168.1.7") == "tunflow0"  # eth0 is an uplink, whichever table says so
    network.undo()
    assert snapshot() == before


@host()
def test_undo_leaves_the_host_as_it_was(tmp_path: Path) -> None:
    before = snapshot()
    network = HostNetwork(tmp_path / "state")
    network.apply(WITH_ALL)
    assert snapshot() != before
    network.undo()
    assert snapshot() == before
    assert not (tmp_path / "state").exists()
    network.undo()
    assert not undo_recorded(tmp_path / "state")


@host()
def test_applying_again_changes_nothing(tmp_path: Path) -> None:
    network = HostNetwork(tmp_path / "state")
    network.apply(WITH_ALL)
    once = snapshot()
    network.apply(WITH_ALL)
    assert snapshot() == once
    network.undo()


@host()
def test_without_an_ipv6_address_ipv6_is_unreachable(tmp_path: Path) -> None:
    network = HostNetwork(tmp_path / "state")
    network.apply(replace(SETTINGS, addresses=ADDRESSES[:1]))
    assert "No route to host" in way("2600::1")  # EHOSTUNREACH
    assert way("8.8.8.8") == "tunflow0"
    network.undo()


@host()
def test_where_ipv6_is_switched_off_it_stays_off(tmp_path: Path) -> None:
    run("sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")
    before = snapshot()
    network = HostNetwork(tmp_path / "state")
    network.apply(WITH_ALL)
    assert run("ip -6 addr") == ""
    assert way("8.8.8.8") == "tunflow0"
    assert "dev" not in way("2600::1")
    with pytest.raises(LocalError, match="IPv6 is switched off on this host"):
        network.apply(replace(SETTINGS, addresses=ADDRESSES[1:]))
    network.undo()
    assert snapshot() == before


@host()
def test_tcp_into_the_tunnel_is_not_paced(tmp_path: Path) -> None:
    network = HostNetwork(tmp_path / "state")
    network.apply(SETTINGS)
    assert "congctl cubic" in run("ip route show table 10048 default")
    assert "congctl cubic" in run("ip -6 route show table 10048 default")
    network.undo()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")
def test_an_ordinary_user_is_told_what_is_missing(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            state = tmp_path / "state"
            for act in (lambda: HostNetwork(state).apply(SETTINGS), lambda: undo_recorded(state)):
                with pytest.raises(LocalError, match="root"):
                    act()
            os._exit(7)
        except BaseException:
            traceback.print_exc()
            os._exit(1)  # whatever went wrong, this is no second test run
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def many_networks(count: int) -> tuple[IPv4Network | IPv6Network, ...]:
    """Four of five are IPv4's."""
    old, new = count * 4 // 5, count // 5
    return (
        *(ip_network(((20 << 24) + number * 4096, 24)) for number in range(old)),
        *(ip_network(((0x2A00 << 112) + (number << 96), 48)) for number in range(new)),
    )


def work_of_apply(directory: Path, count: int, beside: int) -> int:
    """The lines that `apply` executes for as many excluded networks on a host that has other routes already."""
    others = "".join(f"route add throw {network} table 77\n" for network in many_networks(beside))
    with host():
        subprocess.run(["ip", "-batch", "-"], input=others, text=True, check=True)
        network = HostNetwork(directory / f"{count}-{beside}")
        settings = replace(SETTINGS, excluded=many_networks(count), kill_switch=True)
        lines = lines_executed(lambda: network.apply(settings))
        if count:
            assert way("20.0.0.7") == way("2a00:5::1") == "eth0"
        assert way("20.0.1.7") == "tunflow0"
        network.undo()
    return lines


def test_ten_times_as_many_networks_cost_ten_times_as_much(tmp_path: Path) -> None:
    """Also where the host has as many routes of its own: a country's networks are some ten thousand."""
    assert work_of_apply(tmp_path, 5000, 5000) < 11 * work_of_apply(tmp_path, 500, 500)


@host()
def test_a_second_tunnel_is_refused(tmp_path: Path) -> None:
    run("ip route add default dev eth0 table 10048")
    before = snapshot()
    with pytest.raises(LocalError, match="routing table 10048 has routes of something else"):
        HostNetwork(tmp_path / "state").apply(SETTINGS)
    assert snapshot() == before
