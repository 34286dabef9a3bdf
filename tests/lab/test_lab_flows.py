"""What a TCP connection promises, kept through a tunnel: whole, in order, half-closed, refused, reset, slowed."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest
from bench.netlab.namespaces import SERVER4, SITE4, SITE6, Lab
from bench.netlab.peers import IPERF_PORT, start_shadowsocks_server
from bench.netlab.processes import peak_rss_mib
from bench.netlab.tunnel import TUNFLOW, shadowsocks_url, start_tunflow_server
from lab_support import COUNTED_DIGEST, DIGEST, FIRE_HOSE, RESETS, SPEAKS_FIRST, Contents, Tunnel, client, hold_command
from lab_uplinks import until

pytestmark = pytest.mark.lab
BOTH = pytest.mark.parametrize("server", [None, "direct://"], ids=["ss", "direct"])


@pytest.fixture(scope="module")
def half_close_server(lab: Lab, tunnel: Tunnel) -> Iterator[str]:
    """`tunflow serve`: ss-server (shadowsocks-libev) ends both directions when one of them ends."""
    with start_tunflow_server(lab, shadowsocks_url(port=8420), 8420):
        yield shadowsocks_url(port=8420)


@BOTH
@pytest.mark.parametrize("host", [SITE4, SITE6])
@pytest.mark.parametrize("size", [0, 1, 100_000, 50_000_000])
def test_half_close(tunnel: Tunnel, half_close_server: str, server: str | None, host: str, size: int) -> None:
    command = client("upload", host, DIGEST, size, "half-close")
    assert tunnel.ok(command, server=server or half_close_server) == "ok\n"


@pytest.mark.parametrize("size", [1, 100_000, 50_000_000])
def test_upload_is_whole(tunnel: Tunnel, size: int) -> None:
    assert tunnel.ok(client("upload", SITE4, COUNTED_DIGEST, size)) == "ok\n"


@BOTH
def test_eight_uploads_at_once_are_whole(tunnel: Tunnel, server: str | None) -> None:
    command = " ".join(client("upload", SITE4, COUNTED_DIGEST, 20_000_000))
    script = f"for i in 1 2 3 4 5 6 7 8; do {command} & done; wait"
    assert tunnel.ok(["sh", "-c", script], server=server).replace("\n", "") == "ok" * 8


@BOTH
@pytest.mark.parametrize("streams", ["1", "8"])
@pytest.mark.parametrize("direction", [[], ["-R"], ["--bidir"]], ids=["up", "down", "both"])
def test_iperf3(tunnel: Tunnel, server: str | None, streams: str, direction: list[str]) -> None:
    tunnel.ok(["iperf3", "-c", SITE4, "-p", str(IPERF_PORT), "-t", "1", "-P", streams, *direction], server=server)


def test_server_that_speaks_first(tunnel: Tunnel) -> None:
    script = f"exec 3<>/dev/tcp/{SITE4}/{SPEAKS_FIRST}; head -n1 <&3"
    assert tunnel.ok(["timeout", "50", "bash", "-c", script]) == "hello\n"


@pytest.mark.parametrize("host", [SITE4, SITE6])
def test_refusal_is_seen_as_refusal(tunnel: Tunnel, host: str) -> None:
    assert tunnel.ok(client("connect", host, 9999), server="direct://") == "ECONNREFUSED\n"


def test_refusal_behind_a_server_ends_the_connection(tunnel: Tunnel) -> None:
    """Shadowsocks has no word for a refusal; its server closes."""
    asked = tunnel.run(["curl", "-sS", "-m", "50", "-w", "%{time_total}", f"http://{SITE4}:9999/"])
    assert asked.returncode in (7, 52, 56)
    assert float(asked.stdout) < 10


@pytest.mark.parametrize(("prefix", "wanted"), [("10.99.0.0/24", "EHOSTUNREACH"), ("fd99::/64", "EHOSTUNREACH")])
def test_unreachable_is_seen_as_unreachable(tunnel: Tunnel, prefix: str, wanted: str) -> None:
    target = prefix.partition("/")[0].removesuffix(".0") + (".1" if "." in prefix else "1")
    family = "-6" if ":" in prefix else "-4"
    tunnel.lab.client.run(["ip", family, "route", "add", "unreachable", prefix])
    try:
        assert tunnel.ok(client("connect", target, 80), server="direct://") in (f"{wanted}\n", "ENETUNREACH\n")
    finally:
        tunnel.lab.client.run(["ip", family, "route", "del", "unreachable", prefix])


def test_silence_is_seen_as_silence(tunnel: Tunnel) -> None:
    """The SYN is held until the far side answers: what nobody answers is never "connected"."""
    assert tunnel.ok(client("connect", "10.98.0.1", 80, 3), server="direct://") == "timeout\n"


def test_reset_is_seen_as_reset(tunnel: Tunnel) -> None:
    done = tunnel.run(["curl", "-sS", f"http://{SITE4}:{RESETS}/"], server="direct://")
    assert done.returncode in (52, 56), done


def test_slow_reader_slows_the_sender(tunnel: Tunnel) -> None:
    with tunnel.held() as held:
        done = held.run(client("slow_reader", SITE4, FIRE_HOSE, 3))
        assert done.stdout == "50000000\n", done
        assert sum(map(peak_rss_mib, held.pids())) < 60


def test_server_killed_in_the_middle(tunnel: Tunnel, contents: Contents) -> None:
    """The flow ends with an error, in time; the tunnel goes on and carries again once the server is back."""
    with (
        start_shadowsocks_server(tunnel.lab, port=8410) as server,
        tunnel.held(server=shadowsocks_url(port=8410)) as held,
    ):
        got = tunnel.lab.directory / "got"
        slow = ["curl", "-sS", "--limit-rate", "2M", "-o", str(got), f"http://{SITE4}/big"]
        download = held.open(slow)
        until(lambda: got.exists() and got.stat().st_size > 0, what="the download has begun")
        server.stop()
        assert download.wait(60) in (18, 56), "curl did not see the connection break"
        assert held.run(["curl", "-sS", "-m", "10", f"http://{SITE4}/1k"]).returncode != 0
        with start_shadowsocks_server(tunnel.lab, port=8410):
            assert held.run(["curl", "-sSf", "-m", "50", "-o", "/dev/null", f"http://{SITE4}/1k"]).returncode == 0


def test_client_killed_in_the_middle(tunnel: Tunnel) -> None:
    """Its flow is given back; others go on."""
    with tunnel.held() as held:
        other = held.open(hold_command(1))
        assert other.stdout is not None
        assert other.stdout.readline()
        download = held.open(["curl", "-sS", "-o", "/dev/null", "--limit-rate", "1M", f"http://{SITE4}/big"])
        time.sleep(0.5)
        download.send_signal(signal.SIGKILL)
        download.wait(60)
        out, _ = other.communicate(timeout=60)
        assert '"echoed": 1' in out


def test_a_server_does_not_open_its_own_host(lab: Lab, tunnel: Tunnel) -> None:
    """S's addresses, on its loopback and its link, are not reached through the server that runs there."""
    url = shadowsocks_url(port=8422)
    with lab.start(lab.server, [TUNFLOW, "serve", url]) as server:
        server.wait_listening(8422)
        for host in (SITE4, f"[{SITE6}]", SERVER4, "127.0.0.1", "[::ffff:10.77.0.1]"):
            done = tunnel.run(["curl", "-sS", "-m", "20", f"http://{host}/"], server=url)
            assert done.returncode in (7, 52, 56), (host, done.stdout)
        assert "an address of this host or its links, which only --allow-local opens" in server.output()
