"""Clients of a LAN by their hardware addresses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from host_lab import host, run
from test_host_gateway import CLIENT, Client

from tunflow.host.netlink.neighbours import LIFE, Neighbours


@pytest.fixture
def client() -> Iterator[Client]:
    with host():
        made = Client()
        yield made
        made.process.kill()
        made.process.wait()


@pytest.mark.parametrize("version", [4, 6])
def test_a_client_is_known_once_it_has_asked_for_us(client: Client, version: int) -> None:
    address = ip_address(CLIENT[version]).packed
    now = 1000.0
    neighbours = Neighbours(["nowhere0", "eth1"], clock=lambda: now)
    assert neighbours.find(address) is None
    (link,) = json.loads(run(f"{client.enter} ip -j link show eth0"))
    hardware = bytes.fromhex(link["address"].replace(":", ""))
    for _ in range(20):  # who asks at once after it got an address may do so by another one
        run(f"{client.enter} ping -q -c 2 -i 0.2 -W 5 {'192.168.7.1' if version == 4 else '2001:db8:7::1'}")
        if neighbours.find(address) is not None:
            break
    assert neighbours.find(address) == hardware
    run("ip link set eth1 down")
    assert neighbours.find(address) == hardware  # for a moment
    now += LIFE
    assert neighbours.find(address) is None
    neighbours.close()


def test_our_own_addresses_are_nobodys(client: Client) -> None:
    neighbours = Neighbours(["eth1"])
    assert neighbours.find(ip_address("192.168.7.1").packed) == b""
    assert neighbours.find(ip_address("2001:db8:7::1").packed) == b""
    assert neighbours.find(ip_address("203.0.113.9").packed) is None
    neighbours.close()
