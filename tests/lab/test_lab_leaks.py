"""Nothing leaks: what leaves C goes to the proxy server, whatever the program tries, and after a crash too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bench.netlab.namespaces import SERVER4, SITE4, SITE6
from lab_spy import Spy
from lab_support import Contents, Tunnel, client

pytestmark = pytest.mark.lab

ROUNDS = 4
"""How often the program tries all of it without a tunnel."""

ATTEMPTS = {
    "web": ["curl", "-s", "-m", "3", "-o", "/dev/null", "http://site.lab/1k"],
    "web6": ["curl", "-s", "-m", "3", "-o", "/dev/null", f"http://[{SITE6}]/1k"],
    "dns": ["dig", "+tries=1", "+timeout=2", "site.lab"],
    "dns to the outside resolver": ["dig", "+tries=1", "+timeout=2", f"@{SERVER4}", "site.lab"],
    "dns to nobody": ["dig", "+tries=1", "+timeout=1", "@192.0.2.53", "site.lab"],
    "udp": client("udp", 7007, 100, SITE4, SITE6),
    "udp to nobody": client("udp_refused", "192.0.2.1", 443, "briefly"),
    "ping": ["ping", "-c1", "-W1", SITE4],
    "ping6": ["ping", "-c1", "-W1", SITE6],
    "ping to nobody": ["ping", "-c1", "-W1", "192.0.2.1"],
    "multicast": client("udp_refused", "224.0.0.251", 5353, "briefly"),
    "broadcast": ["ping", "-b", "-c1", "-W1", "255.255.255.255"],
    "link-local": ["ping", "-c1", "-W1", "fe80::1%lo"],
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS.keys())
def test_spy_sees_nothing(tunnel: Tunnel, contents: Contents, spy: Callable[..., Spy], attempt: list[str]) -> None:
    with spy() as watching:
        tunnel.run(attempt)
    assert watching.packets == []


@pytest.mark.parametrize("attempt", ["web", "dns", "udp", "ping", "ping6"])
def test_spy_sees_the_same_without_a_tunnel(
    tunnel: Tunnel, contents: Contents, spy: Callable[..., Spy], attempt: str
) -> None:
    """The spy itself: a test that cannot fail proves nothing."""
    with spy() as watching:
        tunnel.lab.client.run(ATTEMPTS[attempt], check=False)
    assert watching.packets != []


@pytest.mark.parametrize("dns", ["tcp", "udp"])
def test_default_resolver_does_not_leak(tunnel: Tunnel, spy: Callable[..., Spy], dns: str) -> None:
    with spy() as watching:
        tunnel.run(["dig", "+tries=1", "+timeout=2", "site.lab"], dns=dns)
    assert watching.packets == []


def test_nothing_leaks_after_kill_9(tunnel: Tunnel, contents: Contents, spy: Callable[..., Spy]) -> None:
    """The program outlives the tunnel and goes on trying; its packets have nowhere to go."""
    stop = tunnel.lab.directory / "stop"
    tries = "; ".join(
        " ".join(ATTEMPTS[name]) for name in ("web", "web6", "dns", "dns to the outside resolver", "udp", "ping")
    )
    script = f"(while ! [ -e {stop} ]; do {tries}; sleep 0.2; echo round; done) 2>&1"
    running = tunnel.start(["sh", "-c", script])
    assert running.popen.stdout is not None
    while "round" not in (line := running.popen.stdout.readline().decode()):
        assert line, running.output()
    with spy() as watching:
        running.kill()
        for _ in range(ROUNDS):
            while "round" not in (line := running.popen.stdout.readline().decode()):
                assert line, "the program ended with the tunnel"
    stop.touch()
    running.stop()
    assert watching.packets == []
