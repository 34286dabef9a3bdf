"""Flows that say nothing for a long time: they stay, and cost nothing.

TUNFLOW_LAB_IDLE=600 makes it the full ten minutes.
"""

from __future__ import annotations

import json
import time

import pytest
from bench.netlab.namespaces import SITE4
from bench.netlab.processes import cpu_seconds
from lab_support import IDLE_SECONDS, LONG_POLL, Held, Tunnel, hold_command

pytestmark = pytest.mark.lab


def test_idle_flows_stay_and_use_no_cpu(tunnel: Tunnel) -> None:
    with tunnel.held() as held:
        holding = held.open(hold_command(10))
        assert holding.stdout is not None
        assert json.loads(holding.stdout.readline())["open"] == 10
        poll = held.open(
            ["curl", "-sS", "-m", f"{IDLE_SECONDS + 30:g}", f"http://{SITE4}:{LONG_POLL}/{IDLE_SECONDS:g}"]
        )
        time.sleep(1)
        assert cpu_over(held, 5) <= 0.02
        out, _ = poll.communicate(timeout=IDLE_SECONDS + 40)
        assert out == "news\n"
        out, _ = holding.communicate(timeout=30)
        assert json.loads(out) == {"echoed": 10}


def cpu_over(held: Held, seconds: float) -> float:
    before = sum(map(cpu_seconds, held.pids()))
    time.sleep(seconds)
    return sum(map(cpu_seconds, held.pids())) - before
