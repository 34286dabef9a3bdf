"""`python -m bench.vpn`: packet VPNs beside each other over one veth: openvpn, wireguard-go, and tunflow's three.

Each row is a tunnel from C to S, up one at a time; iperf3 and ping go to the tunnel's far end. Medians of the rounds,
and each of tunflow's rows beside the program that speaks the same (ShadowVPN, which nobody else has, beside openvpn).
Needs root, openvpn, openssl, wireguard-go and wireguard-tools. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from statistics import median
from subprocess import TimeoutExpired

from bench.netlab.namespaces import SITE4, Lab
from bench.netlab.peers import IPERF_PORT, start_iperf3, wait_reachable
from bench.netlab.processes import cpu_seconds, peak_rss_mib
from bench.vpn_rows import VPN, Running, rows, version_of

PINGS = 100
LOADED_PINGS = 60
LOADED_SECONDS = 3
"""Of a transfer beside which so many pings are sent, one every 20 ms."""
HEADINGS = (
    "up Mbit/s", "down Mbit/s", "CPU s/GB up", "CPU s/GB down", "ping us", "ping us, upload", "ping us, download",
    "MiB, both ends",
)  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """What one round found of one row. Rates in Mbit/s, CPU seconds of both ends for a gigabyte, medians of pings in
    microseconds when idle and beside a transfer, peak memory of both ends in MiB."""

    up: float
    down: float
    cpu_up: float
    cpu_down: float
    ping: float
    ping_up: float
    ping_down: float
    memory: float


def main() -> int:
    """Measure and print; 1 when a row failed."""
    options = _arguments()
    if os.geteuid() != 0:
        print("bench.vpn: network namespaces need root", file=sys.stderr)
        return 2
    every = rows(options.wireguard_go)
    wanted = options.rows.split(",") if options.rows else list(every)
    if unknown := [key for key in wanted if key not in every]:
        print(f"bench.vpn: no row {', '.join(unknown)}; there are {', '.join(every)}", file=sys.stderr)
        return 2
    found: dict[str, list[Sample]] = {key: [] for key in wanted}
    failed = False
    with Lab() as lab:
        start_iperf3(lab)
        wait_reachable(lab)
        for number in range(options.rounds):
            for key in wanted:
                print(f"round {number + 1} of {options.rounds}: {every[key].name}", file=sys.stderr)
                try:
                    with every[key].start(lab) as running:
                        found[key].append(_measure(lab, running, options.seconds))
                except (RuntimeError, OSError, ValueError, LookupError, TimeoutExpired) as error:
                    print(f"{every[key].name}: {error}", file=sys.stderr)
                    failed = True
    medians = {key: _median(samples) for key, samples in found.items() if samples}
    if options.json:
        print(json.dumps({key: dict(zip(_KEYS, astuple(each), strict=True)) for key, each in medians.items()}))
    else:
        print("\n".join(_table(every, medians, _conditions(options.wireguard_go), markdown=options.markdown)))
    return int(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.vpn", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each row is measured (default 3)")
    parser.add_argument("--seconds", type=int, default=4, help="length of each transfer (default 4, at least 2)")
    parser.add_argument("--rows", help=f"which of {', '.join(rows(''))} (default all)")
    parser.add_argument("--wireguard-go", default="wireguard-go", metavar="PROGRAM", help="another build of it")
    parser.add_argument("--markdown", action="store_true", help="print the table for a page of docs")
    parser.add_argument("--json", action="store_true", help="print the medians for programs")
    options = parser.parse_args()
    options.seconds = max(options.seconds, 2)
    return options


def _measure(lab: Lab, running: Running, seconds: int) -> Sample:
    def run(argv: Sequence[str]) -> str:
        return lab.client.run([*running.runner, *argv], timeout=60).stdout

    def iperf(*more: str) -> list[str]:
        return ["iperf3", "-c", SITE4, "-p", str(IPERF_PORT), *more]

    def ping(count: int, interval: str) -> float:
        times = re.findall(r"time=([0-9.]+)", run(["ping", "-c", str(count), "-i", interval, "-W", "2", SITE4]))
        return median(map(float, times)) * 1000

    run(["ping", "-c", "1", "-w", "5", SITE4])  # the handshake
    rates: list[float] = []
    cpu: list[float] = []
    loaded: list[float] = []
    for direction in ((), ("-R",)):
        before = sum(map(cpu_seconds, running.pids))
        text = run(iperf("-J", "-t", str(seconds), "-O", "1", *direction))
        used = sum(map(cpu_seconds, running.pids)) - before
        rate = json.loads(text)["end"]["sum_received"]["bits_per_second"]
        rates.append(rate / 1e6)
        cpu.append(used / (rate * (seconds + 1) / 8e9))
        with lab.start(lab.client, [*running.runner, *iperf("-t", str(LOADED_SECONDS), *direction)]) as transfer:
            run(["sleep", "0.5"])
            loaded.append(ping(LOADED_PINGS, "0.02"))
            transfer.popen.wait(30)
    memory = 0.0
    for pid in running.pids:
        with suppress(RuntimeError, OSError):  # a child that was there at the start only
            memory += peak_rss_mib(pid)
    return Sample(rates[0], rates[1], cpu[0], cpu[1], ping(PINGS, "0.01"), loaded[0], loaded[1], memory)


def _median(samples: Sequence[Sample]) -> Sample:
    return Sample(*map(median, zip(*map(astuple, samples), strict=True)))


def _conditions(wireguard_go: str) -> str:
    return (
        f"Linux {platform.release()}, {os.cpu_count()} CPUs shared by both ends, Python {platform.python_version()}; "
        f"namespaces joined by a veth, cubic; {version_of('openvpn', '--version').partition(' [')[0]}, "
        f"{version_of(wireguard_go, '--version')}; CPU and memory of both ends together; pings are medians."
    )


def _table(every: dict[str, VPN], medians: dict[str, Sample], conditions: str, *, markdown: bool) -> list[str]:
    """The figures, then the ratios: for costs and added pings less is better."""
    lines = [["", *HEADINGS]]
    for key, each in medians.items():
        lines.append([every[key].name, *(_figure(value) for value in astuple(each))])
    quiet = medians["limit"].ping if "limit" in medians else 0.0
    for key, each in medians.items():
        theirs = medians.get(every[key].beside)
        if theirs is not None:
            cells = [_ratio(own, other) for own, other in zip(astuple(each)[:4], astuple(theirs)[:4], strict=True)]
            cells += [
                _ratio(own - quiet, other - quiet)
                for own, other in zip(astuple(each)[4:7], astuple(theirs)[4:7], strict=True)
            ]
            lines.append([f"{every[key].name} / {every[every[key].beside].name}", *cells, "-"])
    if markdown:
        rule = "|---" + "|--:" * len(HEADINGS) + "|"
        return [conditions, "", _row(lines[0]), rule, *map(_row, lines[1:])]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [conditions, *("  ".join(map(str.rjust, line, widths)) for line in lines)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 50 else f"{value:.1f}"


def _ratio(own: float, other: float) -> str:
    return f"{own / other:.2f}" if other > 0 else "-"


_KEYS = [field.name for field in fields(Sample)]

if __name__ == "__main__":
    sys.exit(main())
