"""`python -m bench.providers`: what a provider of a user's costs, beside the limit and the built-in `direct://`.

- flows that a provider gives back at once, beside `direct://`: at least 85 % of its bulk throughput;
- packets that a provider sends back: plain ones of 1,500 bytes in packets per second (at least 100,000, counted where
  they come out), and 64 KB ones in bits per second beside a veth (at least a third).

Each is measured in the same lab, one after the other, and again in every round; medians are printed. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.measure import Plan, bulk
from bench.mirror_providers import HERE
from bench.netlab.namespaces import Lab
from bench.netlab.peers import SCRIPTS, start_iperf3, wait_reachable
from bench.netlab.tunnel import TUNFLOW, HeldTunnel
from bench.rows import Limit, Row, Tunnel

PROVIDERS = Path(__file__).with_name("mirror_providers.py")
ELSEWHERE = "192.0.2.9"
"""Any address: the mirror makes it this host."""


class Provider(Tunnel):
    """`tunflow run --provider` with one of ours."""

    def __init__(self, name: str) -> None:
        super().__init__(f"provider {name}", "")
        self.spec = f"{PROVIDERS}:{name}"

    def start(self, lab: Lab) -> None:
        """Start it on a program that waits."""
        self._held = HeldTunnel(lab, self.run_command)

    def run_command(self, argv: Sequence[str]) -> list[str]:
        """A `tunflow run` of its own for `argv`."""
        return [TUNFLOW, "run", "--provider", self.spec, "--dns", "off", "--", *argv]


def main() -> int:
    """Measure and print; 0 if every target is met."""
    parser = argparse.ArgumentParser(prog="python -m bench.providers", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("bench: network namespaces need root; run it as root", file=sys.stderr)
        return 2
    samples: dict[str, list[float]] = {}
    with Lab() as lab:
        start_iperf3(lab)
        wait_reachable(lab)
        for _ in range(options.rounds):
            for name, value in measure(lab, options.seconds).items():
                samples.setdefault(name, []).append(value)
    figures = {name: median(values) for name, values in samples.items()}
    targets = {
        "carried / direct, up": (figures["carried up"] / figures["direct up"], 0.85),
        "carried / direct, down": (figures["carried down"] / figures["direct down"], 0.85),
        "plain packets per second": (figures["packets"], 100_000),
        "super packets / veth": (figures["super"] / figures["veth"], 1 / 3),
    }
    if options.json:
        print(json.dumps({"figures": figures, "targets": {name: pair[0] for name, pair in targets.items()}}))
    else:
        for name, value in figures.items():
            print(f"{name:>26}: {value:>10,.0f}{'' if name == 'packets' else ' Mbit/s'}")
        for name, (value, least) in targets.items():
            print(f"{name:>26}: {value:>10,.2f}  (wanted {least:,.2f}){'' if value >= least else '  MISSED'}")
    return 0 if all(value >= least for value, least in targets.values()) else 1


def measure(lab: Lab, seconds: float) -> dict[str, float]:
    """One round."""
    plan = Plan(seconds, 0, syscalls=False)
    figures = {}
    rows: dict[str, Row] = {"direct": Tunnel("direct", "direct://"), "carried": Provider("Carry")}
    for name, row in rows.items():
        row.start(lab)
        for direction, reverse in (("up", False), ("down", True)):
            figures[f"{name} {direction}"] = bulk(row, lab, plan, 1, reverse=reverse).mbits
        row.stop()
    limit = Limit()
    limit.start(lab)
    figures["veth"] = bulk(limit, lab, plan, 1, reverse=False).mbits
    figures["super"] = mirrored_bulk(lab, seconds)
    figures["packets"] = mirrored_packets(lab, seconds)
    return figures


def mirrored_bulk(lab: Lab, seconds: float) -> float:
    """Mbit/s of one TCP stream through `SuperMirror`, to this host itself."""
    script = f"iperf3 -s -1 -B {HERE} >/dev/null & sleep 0.3; exec iperf3 -J -c {ELSEWHERE} -t {seconds:g}"
    report = json.loads(run(lab, "SuperMirror", ["bash", "-c", script]))
    return float(report["end"]["sum_received"]["bits_per_second"]) / 1e6


def mirrored_packets(lab: Lab, seconds: float) -> float:
    """Packets of 1,500 bytes per second that come back through `Mirror`."""
    script = [sys.executable, str(SCRIPTS / "udp_flood.py"), ELSEWHERE, HERE, f"{seconds:g}"]
    return float(json.loads(run(lab, "Mirror", script))["per_second"])


def run(lab: Lab, name: str, argv: Sequence[str]) -> str:
    """What `argv` prints in a tunnel of one of our providers."""
    command = lab.client.command(Provider(name).run_command(argv))
    done = subprocess.run(command, capture_output=True, text=True, env=lab.client.env, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} through {name}: {(done.stdout + done.stderr)[-500:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
