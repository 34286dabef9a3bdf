"""`python -m bench`: tunflow beside the limit and beside its peers, all in one run, as medians and ratios.

Needs root and the programs that `./test` installs. Rows are interleaved (each round measures every row once)
so that a slow minute of the machine falls on all of them. Nothing else should run meanwhile: with two CPUs
for both ends, the server and the tunnel, anything else is measured too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from rich.console import Console

from bench.measure import Plan, measure
from bench.netlab.namespaces import Lab
from bench.netlab.peers import (
    start_iperf3,
    start_nginx,
    start_services,
    start_shadowsocks_server,
    start_udp_echo,
    wait_reachable,
)
from bench.netlab.site import Site
from bench.netlab.tunnel import METHOD
from bench.report import Results, RowResult, as_data, markdown, print_tables
from bench.rows import PEERS, ROWS, Row

EVERY = ROWS | PEERS

TABLE_WIDTH = 120
"""Columns that the tables need; a narrower terminal wraps them rather than losing figures."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each row is measured (default 3)")
    parser.add_argument("--seconds", type=float, default=4, help="length of each measurement (default 4)")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"which of {', '.join(EVERY)}")
    parser.add_argument("--congestion", choices=("cubic", "bbr"), default="cubic", help="of all TCP (default cubic)")
    parser.add_argument("--syscalls", action="store_true", help="count system calls per megabyte, with strace")
    parser.add_argument("--quick", action="store_true", help="one short round: does it work, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    parser.add_argument("--markdown", action="store_true", help="print the table for a README")
    return parser.parse_args()


def main() -> int:
    """Measure, print, and say with the exit status whether every row worked."""
    options = arguments()
    if os.geteuid() != 0:
        print("bench: network namespaces need root; run it as root", file=sys.stderr)
        return 2
    unknown = set(options.rows.split(",")) - set(EVERY)
    if unknown:
        print(f"bench: no row {', '.join(sorted(unknown))}; there are {', '.join(EVERY)}", file=sys.stderr)
        return 2
    plan = Plan(
        seconds=1 if options.quick else options.seconds,
        omit=0 if options.quick else 1,
        syscalls=options.syscalls,
    )
    progress = Console(stderr=True)
    load = os.getloadavg()[0]
    progress.print(f"Nothing else should run now: load average {load:.2f} on {os.cpu_count()} CPUs.")
    rounds = 1 if options.quick else options.rounds
    try:
        rows = {key: EVERY[key]() for key in options.rows.split(",")}
    except RuntimeError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    results = measure_rows(rows, rounds, plan, progress, options.congestion)
    if options.json:
        options.json.write_text(json.dumps(as_data(results, options.congestion), indent=1) + "\n")
    if options.markdown:
        print(markdown(results, options.congestion))
    else:
        print_tables(Console(width=max(Console().width, TABLE_WIDTH)), results, options.congestion)
    return 1 if any(row.error for row in results.values()) else 0


def measure_rows(rows: dict[str, Row], rounds: int, plan: Plan, progress: Console, congestion: str) -> Results:
    """Every row once a round, in one lab; a row that fails is left out of later rounds."""
    results: Results = {key: RowResult(row.name, {}) for key, row in rows.items()}
    with Lab(congestion) as lab:
        site = Site(lab.directory / "site")
        site.add_file("1k", 1024)
        start_nginx(lab, site.root, access_log=False)
        start_iperf3(lab)
        start_udp_echo(lab)
        start_services(lab)
        start_shadowsocks_server(lab, METHOD)
        wait_reachable(lab)
        for number in range(rounds):
            for key, row in rows.items():
                if results[key].error is None:
                    progress.print(f"round {number + 1} of {rounds}: {row.name}")
                    measure_once(row, lab, plan, results[key])
                    if results[key].error is not None:
                        progress.print(f"{row.name}: {results[key].error}", style="red", markup=False)
    return results


def measure_once(row: Row, lab: Lab, plan: Plan, result: RowResult) -> None:
    """One row, started for this and stopped again."""
    figures: dict[str, float] = {}
    try:
        row.start(lab)
        try:
            measure(row, lab, plan, figures)
        finally:
            row.stop()
    except (RuntimeError, OSError) as error:
        result.error = str(error)
    for name, value in figures.items():
        result.samples.setdefault(name, []).append(value)


if __name__ == "__main__":
    sys.exit(main())
