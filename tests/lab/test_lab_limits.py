"""What a tunnel may use: one descriptor a flow, little memory, and a clear word when the limit is reached."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

import pytest
from bench.flows import measure
from bench.netlab.namespaces import SITE4
from bench.netlab.processes import open_fds, rss_mib
from bench.rows import ROWS
from lab_support import Contents, Held, Tunnel, hold_command, log_lines

pytestmark = pytest.mark.lab


def hold(held: Held, count: int) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """`count` connections through the tunnel, held until `communicate`; and how opening them went."""
    holding = held.open(hold_command(count))
    assert holding.stdout is not None
    return holding, json.loads(holding.stdout.readline())


def fds(held: Held) -> int:
    return sum(map(open_fds, held.pids()))


def test_one_descriptor_per_flow(tunnel: Tunnel) -> None:
    with tunnel.held() as held:
        before = fds(held)
        holding, opened = hold(held, 100)
        assert opened["open"] == 100
        assert fds(held) - before <= 100
        out, _ = holding.communicate(timeout=30)
        assert json.loads(out) == {"echoed": 100}
        deadline = time.monotonic() + 60
        while fds(held) > before and time.monotonic() < deadline:
            time.sleep(0.1)
        assert fds(held) <= before, "descriptors of closed flows are not given back"


def test_memory_with_a_thousand_idle_flows(tunnel: Tunnel) -> None:
    with tunnel.held() as held:
        holding, opened = hold(held, 1000)
        assert opened["open"] == 1000, opened
        assert sum(map(rss_mib, held.pids())) < 50
        out, _ = holding.communicate(timeout=60)
        assert json.loads(out) == {"echoed": 1000}


def test_three_thousand_connections_with_a_thousand_descriptors(tunnel: Tunnel, contents: Contents) -> None:
    """Those beyond the limit fail as connections do; the others, and later ones, work; the log says it briefly."""
    with tunnel.held(prefix=["prlimit", "--nofile=1024:1024"]) as held:
        first, opened_first = hold(held, 10)
        assert opened_first["open"] == 10
        crowd, opened = hold(held, 3000)
        assert held.process.popen.poll() is None, held.process.output()
        assert opened["open"] >= 900, opened
        assert set(opened["failed"]) <= {"ECONNREFUSED", "ECONNRESET", "timeout", "closed", "EHOSTUNREACH"}, opened
        out, _ = crowd.communicate(timeout=60)
        assert json.loads(out) == {"echoed": opened["open"]}
        out, _ = first.communicate(timeout=30)
        assert json.loads(out) == {"echoed": 10}
        assert held.run(["curl", "-sSf", "-o", "/dev/null", f"http://{SITE4}/1k"]).returncode == 0
        log = log_lines(held.process.output())
    said = [line for line in log if "limit" in line or "descriptor" in line]
    assert 1 <= len(said) <= 5, log[:20]
    assert len(log) <= 10, log[:20]


@pytest.mark.alone
def test_start_is_cheap(tunnel: Tunnel) -> None:
    """The whole tunnel costs at most what 25 bare Pythons cost."""

    def cpu(argv: list[str]) -> float:
        command = tunnel.lab.client.command(argv)
        pid = os.posix_spawnp(command[0], command, tunnel.lab.client.env)
        _, status, usage = os.wait4(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        return usage.ru_utime + usage.ru_stime

    whole, bare = [], []
    while len(whole) < 12:  # a busy neighbour only ever adds to either, so the least of several is what it costs
        whole.append(cpu(tunnel.command(["true"])))
        bare.append(cpu([sys.executable, "-c", ""]))
        if len(whole) >= 3 and min(whole) < 25 * min(bare):
            return
    pytest.fail(f"CPU seconds of the tunnel and of a bare Python: {whole}, {bare}")


@pytest.mark.alone
def test_a_flow_among_thousands_costs_what_it_costs_among_a_hundred(tunnel: Tunnel) -> None:
    """`python -m bench.flows` goes up to ten thousand."""
    costs = []
    for count in (100, 3000):
        row = ROWS["tunflow-direct"]()
        row.start(tunnel.lab)
        try:
            costs.append(measure(row, tunnel.lab, count))
        finally:
            row.stop()
    few, many = costs
    assert many.kib < 8
    assert many.fds == pytest.approx(1, abs=0.01)
    assert many.opening < 2 * few.opening
    assert many.echo < 2 * few.echo


def test_few_descriptors_serve_few_flows(tunnel: Tunnel, contents: Contents) -> None:
    with tunnel.held(prefix=["prlimit", "--nofile=64:64"]) as held:
        crowd, opened = hold(held, 20)
        assert opened["open"] == 20, opened
        assert json.loads(crowd.communicate(timeout=60)[0]) == {"echoed": 20}
        assert held.run(["curl", "-sSf", "-o", "/dev/null", f"http://{SITE4}/1k"]).returncode == 0
