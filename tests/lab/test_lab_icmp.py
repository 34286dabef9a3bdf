"""What the network says reaches the program that it concerns, and the tunnel is one honest hop."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from bench.netlab.namespaces import SITE4, SITE6, Lab
from lab_support import ECHO, Held, Tunnel, client

pytestmark = pytest.mark.lab
HOP4, HOP6 = "198.18.0.2", "fd74:756e:666c:6f77::2"
BOTH_FAMILIES = pytest.mark.parametrize(("host", "hop"), [(SITE4, HOP4), (SITE6, HOP6)], ids=["IPv4", "IPv6"])
BOTH_WAYS = pytest.mark.parametrize("server", [None, "direct://"], ids=["ss", "direct"])


def traceroute(tunnel: Tunnel, host: str) -> list[str]:
    """The addresses of the hops, straight out."""
    applet = "traceroute6" if ":" in host else "traceroute"
    argv = ["busybox", applet, "-n", "-q", "1", "-w", "2", "-m", "5", host]
    return [line.split()[1] for line in tunnel.ok(argv, server="direct://").splitlines()[1:]]


@BOTH_FAMILIES
def test_a_traceroute_of_datagrams_shows_the_tunnel_and_the_target(tunnel: Tunnel, host: str, hop: str) -> None:
    assert traceroute(tunnel, host) == [hop, host]


def test_the_tunnel_itself_is_one_hop_away(tunnel: Tunnel) -> None:
    assert traceroute(tunnel, HOP4) == [HOP4]


@BOTH_WAYS
@BOTH_FAMILIES
def test_pings_show_the_tunnel_and_the_target(tunnel: Tunnel, host: str, hop: str, server: str | None) -> None:
    """What `traceroute -I` and mtr send: one hop is the tunnel, two reach the target."""
    one = tunnel.run(["ping", "-n", "-c", "1", "-W", "30", "-t", "1", host], server=server)
    assert one.returncode == 1
    assert f"From {hop} icmp_seq=1 Time" in one.stdout.decode()
    assert f"from {host}" in tunnel.ok(["ping", "-n", "-c", "1", "-W", "30", "-t", "2", host], server=server)


@BOTH_WAYS
@pytest.mark.parametrize(("hops", "outcome"), [(1, "EHOSTUNREACH"), (2, "connected")])
def test_a_connection_with_too_few_hops(tunnel: Tunnel, server: str | None, hops: int, outcome: str) -> None:
    # RFC 1122 §3.2.2.4: time exceeded is passed to the transport layer, and Linux gives a SYN up for it.
    for host in (SITE4, SITE6):
        assert tunnel.ok(client("hop_limit", host, ECHO, hops), server=server).strip() == outcome


@pytest.mark.parametrize("host", [SITE4, SITE6])
def test_a_blocked_datagram_is_prohibited(tunnel: Tunnel, host: str) -> None:
    # RFC 1812 §5.2.7.1 code 13 is EHOSTUNREACH on Linux, RFC 4443 §3.1 code 1 is EACCES.
    expected = "EHOSTUNREACH" if host == SITE4 else "EACCES"
    assert tunnel.ok(client("udp_refused", host, 53), server="block://").strip() == expected


@BOTH_WAYS
@pytest.mark.parametrize("host", [HOP4, HOP6])
def test_the_tunnel_itself_refuses_other_ports(tunnel: Tunnel, server: str | None, host: str) -> None:
    assert tunnel.ok(client("udp_refused", host, 123), server=server).strip() == "ECONNREFUSED"


def test_a_query_to_a_port_that_nobody_has_fails_at_once(tunnel: Tunnel) -> None:
    done = tunnel.run(["dig", "+tries=1", "+timeout=30", "-p", "9999", f"@{SITE4}", "site.lab"], server="direct://")
    assert done.returncode == 9
    assert b"connection refused" in done.stdout


NARROW_MTU = 1300


@pytest.fixture
def router(lab: Lab) -> Iterator[None]:
    """S sends on: to a link that takes less than C's (10.88, fd88), and by a route that says no (10.89, fd89)."""
    run = lab.server.run
    run(["ip", "link", "add", "narrow", "mtu", str(NARROW_MTU), "type", "veth", "peer", "name", "wide"])
    try:
        for device in ("narrow", "wide"):
            run(["ip", "link", "set", device, "up"])
        for family, narrow, nowhere in (("-4", "10.88.0.0/24", "10.89.0.0/24"), ("-6", "fd88::/64", "fd89::/64")):
            run(["ip", family, "route", "add", narrow, "dev", "narrow"])
            run(["ip", family, "route", "add", "unreachable", nowhere])
        run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
        yield
    finally:
        run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0"])
        run(["ip", "link", "del", "narrow"])
        for family, nowhere in (("-4", "10.89.0.0/24"), ("-6", "fd89::/64")):
            run(["ip", family, "route", "del", "unreachable", nowhere], check=False)


@pytest.mark.usefixtures("router")
@pytest.mark.parametrize("host", ["10.89.0.1", "fd89::1"])
def test_a_ping_to_nowhere_says_so(tunnel: Tunnel, host: str) -> None:
    done = tunnel.run(["ping", "-c", "1", "-W", "30", host], server="direct://")
    assert done.returncode == 1
    assert b"nreachable" in done.stdout


@pytest.mark.usefixtures("router")
@pytest.mark.parametrize(("host", "outcome"), [("10.89.0.1", "EHOSTUNREACH"), ("fd89::1", "ENETUNREACH")])
def test_a_datagram_to_nowhere_says_so(tunnel: Tunnel, host: str, outcome: str) -> None:
    """The code is the router's: Linux says "host unreachable" in IPv4 and "no route" in IPv6."""
    assert tunnel.ok(client("udp_refused", host, 9, "heed"), server="direct://").strip() == outcome


@pytest.mark.usefixtures("router")
@pytest.mark.parametrize("host", ["10.88.0.1", "fd88::1"])
def test_a_narrow_path_tells_its_mtu(tunnel: Tunnel, host: str) -> None:
    # RFC 4787 REQ-13: with DF set, the sender learns that its datagram was too big (RFC 1191, RFC 8201).
    assert tunnel.ok(client("udp_too_big", host, 9, 1400), server="direct://").strip() == str(NARROW_MTU)


def test_errors_are_no_flood(tunnel: Tunnel) -> None:
    """A client that insists gets errors at the bucket's pace, and what works goes on working."""
    with tunnel.held(server="direct://") as held:
        assert isinstance(held, Held)
        script = f"import socket; s = socket.socket(2, 2); [s.sendto(b'x', ('{HOP4}', 99)) for _ in range(20000)]"
        assert held.run(["python3", "-c", script]).returncode == 0
        # Any of five: the first may find the device's queue full of what insists.
        assert held.run(["ping", "-c", "5", "-W", "30", SITE4]).returncode == 0


@pytest.mark.parametrize(("host", "outcome"), [(SITE4, "ENOPROTOOPT"), (SITE6, "EPROTO")])
@pytest.mark.parametrize("protocol", [47, 132], ids=["GRE", "SCTP"])
def test_other_protocols_are_refused_at_once(tunnel: Tunnel, host: str, outcome: str, protocol: int) -> None:
    # How Linux tells a raw socket of protocol unreachable, and of an unrecognized next header.
    script = (
        "import errno, socket, sys, time\n"
        "family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET\n"
        "raw = socket.socket(family, socket.SOCK_RAW, int(sys.argv[2]))\n"
        "raw.connect((sys.argv[1], 0))\n"
        "raw.settimeout(30)\n"
        "raw.send(bytes(32))\n"
        "try: print(raw.recv(100))\n"
        "except OSError as error: print(errno.errorcode.get(error.errno, error))\n"
    )
    assert tunnel.ok([sys.executable, "-c", script, host, str(protocol)], server="direct://").strip() == outcome
