"""`python -m bench.soak --seconds 3600`: mixed load, and what it does to memory and descriptors.

Rounds of curl, iperf3, datagrams, echoes and aborts go through a `tunflow run` to ss-server and one to direct://, at a
gentle rate; after each round, when no flow should be left, the tunnels' memory and descriptors are read. It fails when
a well-behaved client did not get what it came for, or when the last third of the samples is above the middle third.
Needs root and the programs that `./test` installs.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from subprocess import PIPE, STDOUT, Popen

from bench.netlab.namespaces import SERVER4, SITE4, SITE6, Lab
from bench.netlab.peers import (
    IPERF_PORT,
    SCRIPTS,
    start_iperf3,
    start_nginx,
    start_services,
    start_shadowsocks_server,
    start_udp_echo,
    wait_reachable,
)
from bench.netlab.processes import cpu_seconds, open_fds, rss_mib
from bench.netlab.site import Site
from bench.netlab.tunnel import METHOD
from bench.rows import ROWS, Row

THROUGH = ("tunflow-ss", "tunflow-direct")
CURLS = 8
CURL_PAUSE = 0.2
"""Pages a round, and the seconds between them."""

IPERF_SECONDS = 3
IPERF_RATE = "20M"
"""Of each of four streams; every other round they are downloads, and every third it is UDP."""

IPERF_SOURCE = "31000"
"""Its UDP port, always the same: a mapping lasts for minutes, and new ones would look like growth."""

SETTLE = 1.0
"""Seconds after a round until what the clients closed is over at both ends."""

MEMORY_SLACK = 2.0
"""MiB that the last third may be above the middle one: what a heap wobbles by."""

FDS_SLACK = 2
PATIENCE = 60.0


@dataclass(frozen=True)
class Sample:
    """One tunnel after a round."""

    seconds: float
    rss: float
    """MiB."""
    fds: int


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3600, help="how long (default an hour)")
    parser.add_argument("--pause", type=float, default=5, help="seconds of rest between two rounds (default 5)")
    return parser.parse_args()


def main() -> int:
    """Soak, print, judge."""
    options = arguments()
    if os.geteuid() != 0:
        print("soak: network namespaces need root; run it as root", file=sys.stderr)
        return 2
    with Lab() as lab:
        serve(lab)
        complaints = soak(lab, options.seconds, options.pause)
    for complaint in complaints:
        print(f"soak: {complaint}", file=sys.stderr)
    print("soak: " + ("FAILED" if complaints else "memory and descriptors are flat, every client was served"))
    return 1 if complaints else 0


def soak(lab: Lab, seconds: float, pause: float) -> list[str]:
    """Rounds of load through every tunnel until the time is over: what went wrong. `lab` serves what is asked for."""
    rows = [ROWS[key]() for key in THROUGH]
    samples: dict[str, list[Sample]] = {row.name: [] for row in rows}
    complaints: list[str] = []
    started: list[Row] = []
    try:
        for row in rows:
            row.start(lab)
            started.append(row)
        begin = time.monotonic()
        number = 0
        while time.monotonic() - begin < seconds:
            for row in rows:
                complaints += play(row, lab, number)
                time.sleep(SETTLE)
                taken = take_sample(row, time.monotonic() - begin)
                samples[row.name].append(taken)
                print(describe(row, number, taken), flush=True)
            number += 1
            time.sleep(pause)
    finally:
        for row in started:
            row.stop()
    return complaints + [f"{name}: {what}" for name, taken in samples.items() for what in growth(taken)]


def serve(lab: Lab) -> None:
    """Everything on S that the clients use."""
    site = Site(lab.directory / "site")
    site.add_file("1k", 1024)
    site.add_file("1m", 1_000_000)
    start_nginx(lab, site.root, access_log=False)
    start_iperf3(lab)
    start_udp_echo(lab, SITE4)
    start_udp_echo(lab, SITE6)
    start_services(lab)
    start_shadowsocks_server(lab, METHOD)
    wait_reachable(lab)


def commands(number: int) -> Iterator[list[str]]:
    """What runs at the same time in a round."""
    pages = " ".join(f"http://{SITE4}/{name} http://[{SITE6}]/{name}" for name in ("1k", "1m"))
    curl = f"curl -sSf --no-keepalive -m {PATIENCE:g}"
    yield ["sh", "-ec", f"for i in $(seq {CURLS}); do {curl} {pages} >/dev/null; sleep {CURL_PAUSE:g}; done"]
    # A transfer that the client gives up with bytes unread, which makes it a reset: curl's exit status 28.
    yield ["sh", "-c", f"curl -s --limit-rate 50k -m 2 http://{SITE4}:9004/ >/dev/null; test $? -eq 28"]
    yield [sys.executable, str(SCRIPTS / "mixed.py"), str(number), SITE4, SITE6]
    if number % 3:
        target, kind = SITE4, ["-P", "4", "-b", IPERF_RATE]
    else:  # iperf3 answers datagrams from whatever address its host prefers
        target, kind = SERVER4, ["-u", "-l", "1200", "-b", "10M", "--cport", IPERF_SOURCE]
    direction = ["-R"] if number % 2 else []
    yield ["iperf3", "-c", target, "-p", str(IPERF_PORT), "-t", str(IPERF_SECONDS), *kind, *direction]


def play(row: Row, lab: Lab, number: int) -> list[str]:
    """One round through one row; what failed."""
    running = [
        Popen(row.command(argv), stdout=PIPE, stderr=STDOUT, text=True, env=lab.client.env) for argv in commands(number)
    ]
    failures = []
    for process in running:
        output, _ = process.communicate(timeout=PATIENCE + 30)
        if process.returncode:
            failures.append(f"{row.name}, round {number}: {process.args!r} failed: {output.strip()[-500:]}")
    return failures


def take_sample(row: Row, seconds: float) -> Sample:
    """What the row's client side holds now."""
    return Sample(seconds, sum(map(rss_mib, row.pids())), sum(map(open_fds, row.pids())))


def describe(row: Row, number: int, sample: Sample) -> str:
    """One line for people."""
    cpu = sum(map(cpu_seconds, row.pids())) / max(sample.seconds, 1)
    return (
        f"{sample.seconds:6.0f} s  round {number:4}  {row.name:18} "
        f"{sample.rss:6.1f} MiB  {sample.fds:3} fds  {cpu:5.1%} CPU"
    )


def growth(samples: Sequence[Sample]) -> Iterator[str]:
    """What grew from the middle third of the samples to the last; the first is for warming up."""
    third = len(samples) // 3
    if not third:
        yield "too short to tell: fewer than three rounds"
        return
    middle, last = samples[-2 * third : -third], samples[-third:]
    # The most, not the usual: Shadowsocks' memory of datagram salts fills, is halved, and fills again.
    memory = [max(sample.rss for sample in part) for part in (middle, last)]
    if memory[1] > memory[0] + MEMORY_SLACK:
        yield f"memory grew from {memory[0]:.1f} to {memory[1]:.1f} MiB"
    fds = [median(sample.fds for sample in part) for part in (middle, last)]
    if fds[1] > fds[0] + FDS_SLACK:
        yield f"descriptors grew from {fds[0]:g} to {fds[1]:g}"


if __name__ == "__main__":
    sys.exit(main())
