"""Too much of everything: bytes that nobody takes, and bulk beside small requests."""

from __future__ import annotations

import json
import subprocess
import time

import pytest
from bench.netlab.namespaces import SITE4
from bench.netlab.peers import IPERF_PORT, SERVICES_PORT, start_services
from bench.netlab.processes import rss_mib
from lab_support import FIRE_HOSE, NEVER_READS, Contents, Held, Tunnel, client, log_lines

pytestmark = pytest.mark.lab

CROWD = 60
LIMIT_MIB = 8
SLACK_MIB = 8
"""What so many flows cost beside their bytes, and what a heap wobbles by."""


def rss(held: Held) -> float:
    return sum(map(rss_mib, held.pids()))


@pytest.mark.alone
@pytest.mark.parametrize("server", [None, "direct://"])
def test_the_memory_limit_holds_and_everybody_goes_on(tunnel: Tunnel, contents: Contents, server: str | None) -> None:
    """Without the limit the crowd holds some 30 MiB."""
    own = 9100  # servers of this test's own, so that their end resets what the kernel would go on trying to send
    fire_hose, never_reads = own + FIRE_HOSE - SERVICES_PORT, own + NEVER_READS - SERVICES_PORT
    limit = ["--memory-limit", f"{LIMIT_MIB}M"]
    with start_services(tunnel.lab, own), tunnel.held(server=server, options=limit) as held:
        assert held.run(["curl", "-sSf", "-o", "/dev/null", f"http://{SITE4}/1k"]).returncode == 0
        before = rss(held)
        crowd = held.open(client("crowd", SITE4, fire_hose, never_reads, CROWD))
        assert crowd.stdout is not None
        assert json.loads(crowd.stdout.readline())["sent"] > 0
        assert rss(held) - before < LIMIT_MIB + SLACK_MIB
        small = held.run(["curl", "-sSf", "-m", "20", "-o", "/dev/null", f"http://{SITE4}/1k"])
        assert small.returncode == 0, (small, log_lines(held.process.output()))
        out, _ = crowd.communicate(timeout=120)
        assert crowd.returncode == 0, log_lines(held.process.output())
        assert json.loads(out) == {"served": CROWD}
        assert rss(held) - before < LIMIT_MIB + SLACK_MIB


FAIRNESS = 3.0
"""How much longer a small request may take with eight bulk flows in its tunnel than with them beside it."""


@pytest.mark.alone
@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_small_request_is_served_beside_bulk_flows(tunnel: Tunnel, contents: Contents, direction: str) -> None:
    """Straight out, because through a server we would measure its turns, not ours. Both hosts, iperf3 at both ends and
    the tunnel share this machine's CPUs, so it is compared with a request while the same flows go past the tunnel; the
    best of three attempts counts."""
    bulk = [
        "iperf3",
        "-c",
        SITE4,
        "-p",
        str(IPERF_PORT),
        "-P",
        "8",
        "-t",
        "3",
        *(["-R"] if direction == "down" else []),
    ]
    ratios = []
    with tunnel.held(server="direct://", dns="off") as held:

        def latency(count: int) -> float:
            return float(held.run(client("latency", SITE4, count)).stdout)

        def beside(running: subprocess.Popen[str]) -> float:
            time.sleep(0.5)
            seconds = latency(60)
            out, _ = running.communicate(timeout=30)
            assert running.returncode == 0, out
            return seconds

        latency(10)
        for _ in range(3):
            past = subprocess.Popen(tunnel.lab.client.command(bulk), stdout=subprocess.PIPE, text=True)
            outside = beside(past)
            ratios.append(beside(held.open(bulk)) / outside)
            if ratios[-1] < FAIRNESS:
                break
    assert min(ratios) < FAIRNESS, ratios
