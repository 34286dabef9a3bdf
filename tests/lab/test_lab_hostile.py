"""Servers and sites that misbehave: the program sees an error, tunflow goes on, and says little."""

from __future__ import annotations

import time

import pytest
from bench.netlab.namespaces import SITE4
from bench.netlab.peers import SERVICES_PORT, start_services
from bench.netlab.processes import peak_rss_mib
from bench.netlab.tunnel import shadowsocks_url
from lab_support import (
    COUNTED_DIGEST,
    FIRE_HOSE,
    HALF_ANSWER,
    NEVER_READS,
    NOISE,
    RESETS,
    Contents,
    Tunnel,
    client,
    log_lines,
)

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("port", [NOISE, RESETS, HALF_ANSWER], ids=["noise", "resets", "half an answer"])
def test_something_else_in_the_servers_place(tunnel: Tunnel, port: int) -> None:
    with tunnel.held(server=shadowsocks_url(port=port)) as held:
        attempts = f"for i in $(seq 20); do (curl -s -m 4 http://{SITE4}/1k >/dev/null || echo failed) & done; wait"
        assert held.run(["sh", "-c", attempts]).stdout == "failed\n" * 20
        assert held.process.popen.poll() is None, held.process.output()
        log = held.process.output()
        assert "Traceback" not in log
        assert len(log_lines(log)) <= 5, log


def test_server_that_never_reads(tunnel: Tunnel) -> None:
    """The sender is held up, not buffered for: memory stays where it was."""
    own = 9100  # a server of this test's own, so that its end resets what the kernel would go on trying to send
    never_reads = shadowsocks_url(port=own + NEVER_READS - SERVICES_PORT)
    with start_services(tunnel.lab, own), tunnel.held(server=never_reads) as held:
        upload = held.open(client("upload", SITE4, COUNTED_DIGEST, 200_000_000))
        time.sleep(3)
        assert upload.poll() is None
        assert sum(map(peak_rss_mib, held.pids())) < 60
        upload.kill()
        upload.wait()
        assert held.process.popen.poll() is None, held.process.output()


def test_site_that_stops_in_the_middle(tunnel: Tunnel, contents: Contents) -> None:
    with tunnel.held() as held:
        stuck = held.open(["curl", "-sS", "-m", "5", "-o", "/dev/null", f"http://{SITE4}:{HALF_ANSWER}/"])
        assert held.run(["curl", "-sSf", "-o", "/dev/null", f"http://{SITE4}/10m"]).returncode == 0
        assert stuck.wait(60) == 28  # curl's own time-out


def test_client_that_stops_reading(tunnel: Tunnel, contents: Contents) -> None:
    """One stuck reader, and everybody else's flows go on."""
    with tunnel.held() as held:
        stuck = held.open(client("slow_reader", SITE4, FIRE_HOSE, 8))
        time.sleep(1)
        for _ in range(5):
            assert held.run(["curl", "-sSf", "-m", "30", "-o", "/dev/null", f"http://{SITE4}/10m"]).returncode == 0
        assert sum(map(peak_rss_mib, held.pids())) < 60
        out, _ = stuck.communicate(timeout=60)
        assert out == "50000000\n"
