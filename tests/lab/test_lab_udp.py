"""UDP through a tunnel: small and fragmented datagrams, in both families, refused where that can be known."""

from __future__ import annotations

import pytest
from bench.netlab.namespaces import SITE4, SITE6
from bench.netlab.peers import UDP_ECHO_PORT
from bench.netlab.tunnel import shadowsocks_url, start_tunflow_server
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
