"""`python -m bench.flows`: what a flow costs, from ten of them to ten thousand.

Each number of flows is opened through a tunnel, held, and each of them echoes a byte twice; the tunnel's memory,
descriptors and CPU time are read from `/proc`. Needs root, the programs that `./test` installs, and as many
descriptors (`ulimit -Hn`). The echo server and the client that holds the flows are asyncio, in Python.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bench.netlab.namespaces import SITE4, Lab
from bench.netlab.peers import SCRIPTS, SERVICES_PORT, start_services, start_shadowsocks_server, wait_reachable
from bench.netlab.processes import exact_cpu_seconds, open_fds, rss_mib
from bench.netlab.tunnel import METHOD
from bench.rows import ROWS, Row

COUNTS = (10, 100, 1000, 10_000)
THROUGH = ("tunflow-direct", "tunflow-ss")
PER_FLOW = 2
"""Descriptors that ss-server takes for a flow."""
OTHERS = 256

ECHOES = 2000
"""At least so many are measured together."""


class Cost(NamedTuple):
    """What so many flows cost the tunnel."""

    flows: int
    kib: float
    """Memory for each flow, beyond that of a tunnel without any."""
    fds: float
    """Descriptors for each flow."""
    opening: float
    """Microseconds of CPU time to open one."""
    echo: float
    """And for one echo."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.flows", description=__doc__.partition("\n")[0])
    parser.add_argument("--counts", default=",".join(map(str, COUNTS)), help="how many flows (default %(default)s)")
    parser.add_argument("--rows", default=",".join(THROUGH), help="through what (default %(default)s)")
    return parser.parse_args()


def main() -> int:
    """Measure and print."""
    options = arguments()
    counts = [int(count) for count in options.counts.split(",")]
    if os.geteuid() != 0:
        print("flows: network namespaces need root; run it as root", file=sys.stderr)
        return 2
    most = descriptors(PER_FLOW * max(counts) + OTHERS) - OTHERS
    with Lab() as lab:
        start_services(lab)
        start_shadowsocks_server(lab, METHOD)
        wait_reachable(lab)
        table = Table("", "flows", "KiB each", "fds each", "us to open", "us an echo")
        for key in options.rows.split(","):
            for wanted in counts:
                count = min(wanted, most // (PER_FLOW if key == "tunflow-ss" else 1))
                row = ROWS[key]()
                row.start(lab)
                try:
                    cost = measure(row, lab, count)
                finally:
                    row.stop()
                cells = (f"{cost.kib:.1f}", f"{cost.fds:.2f}", f"{cost.opening:.0f}", f"{cost.echo:.0f}")
                table.add_row(row.name, f"{count:,}", *cells)
    Console().print(table)
    return 0


def descriptors(wanted: int) -> int:
    """Raise the limit for this process and those it starts, as far as it may be; what it is then."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        except (ValueError, OSError):
            print(f"flows: only {hard} descriptors may be had here, so there are fewer flows", file=sys.stderr)
            return hard
    return wanted


def measure(row: Row, lab: Lab, count: int) -> Cost:
    """Open, hold, echo, end. Raises RuntimeError when a flow does not open or does not echo."""
    script = [sys.executable, str(SCRIPTS / "hold.py"), SITE4, str(SERVICES_PORT)]
    one = subprocess.run(
        row.command([*script, "1"]), input="", env=lab.client.env, capture_output=True, text=True, check=False
    )
    if one.returncode:
        raise RuntimeError(f"no flow through {row.name}: {one.stderr[-500:]}")
    memory, fds, begin = used(row)
    with subprocess.Popen(
        row.command([*script, str(count)]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=lab.client.env,
    ) as holding:
        assert holding.stdin is not None
        assert holding.stdout is not None
        opened = json.loads(holding.stdout.readline())
        held_memory, held_fds, held = used(row)
        times = max(1, ECHOES // count)
        echoed = count
        for _ in range(times):
            print("echo", file=holding.stdin, flush=True)
            echoed = min(echoed, json.loads(holding.stdout.readline())["echoed"])
        after = used(row)[2]
        out, _ = holding.communicate()
    if not opened["open"] == echoed == json.loads(out)["echoed"] == count:
        raise RuntimeError(f"{count} flows through {row.name}: {opened}, {echoed} echoed, then {out}")
    return Cost(
        count,
        (held_memory - memory) * 1024 / count,
        (held_fds - fds) / count,
        (held - begin) / count * 1e6,
        (after - held) / (times * count) * 1e6,
    )


def used(row: Row) -> tuple[float, int, float]:
    """Memory in MiB, descriptors and CPU seconds of the row's client side."""
    pids = row.pids()
    return sum(map(rss_mib, pids)), sum(map(open_fds, pids)), sum(map(exact_cpu_seconds, pids))


if __name__ == "__main__":
    sys.exit(main())
