"""UDP through a tunnel: small and fragmented datagrams, in both families, refused where that can be known."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import pytest
from bench.netlab.namespaces import SITE4, SITE6, Lab
from bench.netlab.peers import UDP_ECHO_PORT
from bench.netlab.tunnel import shadowsocks_url, start_tunflow_server
from lab_spy import Spy
from lab_support import Tunnel, client

pytestmark = pytest.mark.lab
BOTH = pytest.mark.parametrize("server", [None, "direct://"], ids=["ss", "direct"])


@BOTH
@pytest.mark.parametrize("size", [0, 1, 1300])
def test_echo(tunnel: Tunnel, server: str | None, size: int) -> None:
    assert tunnel.ok(client("udp", UDP_ECHO_PORT, size, SITE4, SITE6), server=server) == "ok\n"


@pytest.mark.parametrize("server", [shadowsocks_url(port=8421), "direct://"], ids=["tunflow serve", "direct"])
@pytest.mark.parametrize("size", [1472, 1473, 2000])
def test_echo_in_fragments(tunnel: Tunnel, server: str, size: int) -> None:
    """What does not fit one packet arrives as fragments and is put together (ss-server drops what is over 1,397)."""
    with start_tunflow_server(tunnel.lab, shadowsocks_url(port=8421), 8421):
        assert tunnel.ok(client("udp", UDP_ECHO_PORT, size, SITE4, SITE6), server=server) == "ok\n"


def test_refusal_is_seen_as_refusal(tunnel: Tunnel) -> None:
    for host in (SITE4, SITE6):
        assert tunnel.ok(client("udp_refused", host, 9999), server="direct://") == "ECONNREFUSED\n"


ANY_ECHO_PORT = 7008


@pytest.fixture(scope="module")
def any_echo(lab: Lab) -> None:
    """An echo on S for datagrams of any size."""
    servers = [lab.start(lab.server, client("udp_echo_any", host, ANY_ECHO_PORT)) for host in (SITE4, SITE6)]
    deadline = time.monotonic() + 60
    while not all("ready" in server.output() for server in servers):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.usefixtures("any_echo")
@pytest.mark.parametrize("host", [SITE4, SITE6])
def test_the_smallest_and_the_largest_datagram(tunnel: Tunnel, host: str) -> None:
    # RFC 768: a length of 8 is the least. RFC 791 §3.1: 65,535 bytes with both headers are the most; RFC 8200 §3: with
    # UDP's alone.
    sizes = (0, 1, 0, 65507 if host == SITE4 else 65527, 1472, 1473, 0, 40000, 9)
    output = tunnel.ok(client("udp_sizes", host, ANY_ECHO_PORT, *sizes), server="direct://")
    assert output == f"{sum(sizes)}\n"


@pytest.mark.usefixtures("any_echo")
@pytest.mark.parametrize("host", [SITE4, SITE6])
@pytest.mark.parametrize(("server", "size"), [(None, 64), (None, 1200), ("direct://", 64), ("direct://", 1452)])
def test_bursts_as_quic_sends_them(tunnel: Tunnel, host: str, server: str | None, size: int) -> None:
    assert tunnel.ok(client("udp_bulk", host, ANY_ECHO_PORT, size, 800), server=server) == "800\n"


@pytest.mark.parametrize("host", ["224.0.0.251", "ff0e::fb", "255.255.255.255"])
def test_what_is_for_a_group_stays_inside(tunnel: Tunnel, spy: Callable[..., Spy], host: str) -> None:
    """mDNS, SSDP and the like are for the client's own link; they leave by no other way either."""
    script = (
        "import socket, sys; s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, 2);"
        "s.setsockopt(1, 6, 1); s.sendto(b'anybody there?', (sys.argv[1], 5353))"
    )
    with spy() as seen:
        tunnel.ok([sys.executable, "-c", script, host], server="direct://")
    assert seen.packets == []
