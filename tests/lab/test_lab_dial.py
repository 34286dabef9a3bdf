"""A server with several addresses, of which some are silent, and one whose name moves (DDNS): real sockets, real DNS.

S has two more addresses: OLD, where a server is at first or nobody answers, and NEW, where it is found later. The
resolver that C's resolv.conf names knows `two.lab` as both, OLD first, and `moving.lab` as one of them.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from bench.netlab.namespaces import NETNS_ETC, SERVER4, SITE4, Lab, ip
from bench.netlab.peers import PASSWORD, UDP_ECHO_PORT, start_dns
from bench.netlab.processes import Process
from bench.netlab.tunnel import METHOD, shadowsocks_url
from lab_support import Held, Tunnel, client
from lab_system import System
from lab_uplinks import until

from cost import least

pytestmark = pytest.mark.lab

RESOLVER, OLD, NEW = "10.66.0.53", "10.66.0.3", "10.66.0.9"
"""In that order getaddrinfo gives them: to C they are alike (RFC 6724 §5)."""
PORT = 8390
DROP = f"table ip silence {{ chain in {{ type filter hook input priority 0; ip daddr {OLD} drop; }}; }}"


class Places:
    """The two addresses, and what a name means."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.resolv_conf = NETNS_ETC / lab.client.name / "resolv.conf"
        self.before = self.resolv_conf.read_text()
        self.resolv_conf.write_text(f"nameserver {RESOLVER}\n")
        self.servers: dict[str, Process] = {}
        self.resolver: Process | None = None
        self.name("moving.lab", OLD)

    def name(self, name: str, *addresses: str) -> None:
        """A name means these addresses from now on."""
        if self.resolver is not None:
            self.resolver.stop()
        records = [f"host-record={name},{address}" for address in addresses]  # one line takes one of each family
        self.resolver = start_dns(self.lab, (RESOLVER,), {}, {}, ["no-round-robin", *records])

    def serve(self, address: str) -> None:
        argv = ["ss-server", "-s", address, "-p", str(PORT), "-k", PASSWORD, "-m", METHOD, "-u", "-d", SITE4]
        self.servers[address] = self.lab.start(self.lab.server, argv, env={"LANG": "C"})
        with self.lab.client.entered():
            until(lambda: _takes(address))

    def silence_old(self) -> None:
        """Nobody answers at OLD any more, not by a refusal either."""
        self.lab.server.run(["nft", DROP])

    def close(self) -> None:
        self.lab.server.run(["nft", "delete", "table", "ip", "silence"], check=False)
        for server in self.servers.values():
            server.stop()
        if self.resolver is not None:
            self.resolver.stop()
        self.resolv_conf.write_text(self.before)


def _takes(address: str) -> bool:
    try:
        socket.create_connection((address, PORT), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def places(tunnel: Tunnel) -> Iterator[Places]:
    addresses = [f"{address}/24" for address in (RESOLVER, OLD, NEW)]
    with tunnel.lab.server.addressed(*addresses, device="eth0"):
        made = Places(tunnel.lab)
        yield made
        made.close()


def fetch_seconds(held: Held) -> float:
    """How long a small page takes, connecting included."""
    done = held.run(["curl", "-sS", "-m", "10", "-o", "/dev/null", "-w", "%{time_total}", f"http://{SITE4}/1k"])
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def udp_answers(held: Held) -> bool:
    return held.run(client("udp_moving", SITE4, UDP_ECHO_PORT)).stdout.strip() == "answered"


def test_a_silent_first_address_costs_one_flow_a_quarter_of_a_second(places: Places, tunnel: Tunnel) -> None:
    places.name("two.lab", OLD, NEW)
    places.serve(NEW)
    places.silence_old()

    def first() -> float:
        with tunnel.held(server=shadowsocks_url(host="two.lab", port=PORT), dns="off") as held:
            return fetch_seconds(held)

    assert 0.2 < least(first, 0.6) < 0.6
    with tunnel.held(server=shadowsocks_url(host="two.lab", port=PORT), dns="off") as held:
        fetch_seconds(held)
        assert least(lambda: fetch_seconds(held), 0.2) < 0.2
        assert udp_answers(held)


def test_udp_alone_finds_the_address_that_answers(places: Places, tunnel: Tunnel) -> None:
    places.name("two.lab", OLD, NEW)
    places.serve(NEW)
    places.silence_old()

    def turn() -> float:
        with tunnel.held(server=shadowsocks_url(host="two.lab", port=PORT), dns="off") as held:
            began = time.monotonic()
            assert udp_answers(held)
            return time.monotonic() - began

    assert least(turn, 1.0) < 1.0, "the first datagram got through"


def test_a_family_without_a_route_costs_nothing(places: Places, tunnel: Tunnel) -> None:
    places.name("two.lab", "2001:db8:dead::1", SERVER4)
    name = tunnel.lab.client.name
    ip("-n", name, "-6", "route", "add", "unreachable", "2001:db8:dead::/48")
    try:
        with tunnel.held(server=shadowsocks_url(host="two.lab"), dns="off") as held:
            assert least(lambda: fetch_seconds(held), 0.2) < 0.2
            assert udp_answers(held)
    finally:
        ip("-n", name, "-6", "route", "del", "unreachable", "2001:db8:dead::/48")


@pytest.mark.parametrize("end", ["refuses", "is silent"])
def test_run_follows_a_name_that_moves(places: Places, tunnel: Tunnel, end: str) -> None:
    places.serve(OLD)
    with tunnel.held(server=shadowsocks_url(host="moving.lab", port=PORT), dns="off") as held:
        fetch_seconds(held)
        assert udp_answers(held)
        places.serve(NEW)
        places.name("moving.lab", NEW)
        if end == "is silent":
            places.silence_old()
        places.servers[OLD].stop()
        until(lambda: held.run(["curl", "-sS", "-m", "5", f"http://{SITE4}/1k"]).returncode == 0)
        assert least(lambda: fetch_seconds(held), 0.2) < 0.2
        assert udp_answers(held)


@pytest.mark.parametrize("end", ["refuses", "is silent"])
def test_up_follows_a_name_that_moves(places: Places, tunnel: Tunnel, end: str) -> None:
    """The kill switch lets the new address out as well, and the old stays while its flows may live."""
    places.serve(OLD)
    with System(tunnel.lab) as system:
        system.up("--kill-switch", "--server", shadowsocks_url(host="moving.lab", port=PORT))
        assert system.fetch(f"http://{SITE4}/1k") == 1024
        places.serve(NEW)
        places.name("moving.lab", NEW)
        if end == "is silent":
            places.silence_old()
        places.servers[OLD].stop()
        until(lambda: system.fetch(f"http://{SITE4}/1k", timeout=5) == 1024)
        assert "a server moved" in system.log()
        assert system.tunflow("status").returncode == 0


def test_a_resolver_that_fails_does_no_harm(places: Places, tunnel: Tunnel) -> None:
    """The server is away for a while, and so is the resolver: the address that was known is kept."""
    places.serve(OLD)
    with tunnel.held(server=shadowsocks_url(host="moving.lab", port=PORT), dns="off") as held:
        fetch_seconds(held)
        places.servers[OLD].stop()
        assert places.resolver is not None
        places.resolver.stop()
        assert held.run(["curl", "-sS", "-m", "3", f"http://{SITE4}/1k"]).returncode != 0
        places.serve(OLD)
        until(lambda: held.run(["curl", "-sS", "-m", "5", f"http://{SITE4}/1k"]).returncode == 0)
