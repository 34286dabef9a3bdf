"""UDP through a tunnel: small and fragmented datagrams, in both families, refused where that can be known."""

from __future__ import annotations

import pytest
from bench.netlab.namespaces import SITE4, SITE6
from bench.netlab.peers import UDP_ECHO_PORT
from lab_support import Tunnel, client

pytestmark = pytest.mark.lab
BOTH = pytest.mark.parametrize("server", [None, "direct://"], ids=["ss", "direct"])


@BOTH
@pytest.mark.parametrize("size", [0, 1, 1400, 2000])
def test_echo(tunnel: Tunnel, server: str | None, size: int) -> None:
    """2,000 bytes do not fit one packet of 1,500: they arrive as fragments and are put together."""
    assert tunnel.ok(client("udp", UDP_ECHO_PORT, size, SITE4, SITE6), server=server) == "ok\n"


def test_refusal_is_seen_as_refusal(tunnel: Tunnel) -> None:
    for host in (SITE4, SITE6):
        assert tunnel.ok(client("udp_refused", host, 9999), server="direct://") == "ECONNREFUSED\n"
