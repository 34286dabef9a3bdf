"""How each figure is taken: one short real transfer by a real program, through a row.

iperf3 for bulk (receiver's figure, its first second left out), wrk against nginx for connections and
requests, a batching UDP echo for datagrams. CPU time, memory and descriptors are read from `/proc` for the
row's client side.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.netlab.namespaces import SITE4, Lab
from bench.netlab.peers import IPERF_PORT, SCRIPTS, SERVICES_PORT, UDP_ECHO_PORT
from bench.netlab.processes import cpu_seconds, open_fds, peak_rss_mib, rss_mib
from bench.rows import Row, SystemTunnel, Tunnel

SMALL_URL = f"http://{SITE4}/1k"
IDLE_FLOWS = 1000
PATIENCE = 60.0
Figures = dict[str, float]


@dataclass(frozen=True)
class Plan:
    """How long each measurement takes, in seconds, and what is left out of its start."""

    seconds: float
    omit: int
    syscalls: bool


@dataclass(frozen=True)
class Transfer:
    """One bulk transfer: rate, and what the row's client side used for it."""

    mbits: float
    cpu_per_gb: float | None
    fds: int


def measure(row: Row, lab: Lab, plan: Plan, figures: Figures) -> None:
    """Every figure of one running row, into `figures`. Raises RuntimeError when a program fails."""
    for streams in (1, 8):
        for direction, reverse in (("up", False), ("down", True)):
            transfer = bulk(row, lab, plan, streams, reverse=reverse)
            figures[f"{direction}{streams}"] = transfer.mbits
            if streams == 8 and transfer.cpu_per_gb is not None:
                figures[f"cpu_{direction}"] = transfer.cpu_per_gb
                figures["fds"] = max(figures.get("fds", 0), transfer.fds)
    for name, connections, close in (("conn1", 1, True), ("conn64", 64, True), ("requests", 64, False)):
        figures[name] = http(row, lab, plan, connections, close=close)
    figures["udp"] = udp(row, lab, plan)
    if row.pids():
        figures["rss"] = sum(map(peak_rss_mib, row.pids()))
        try:
            figures["idle_rss"], figures["idle_fds"] = idle_flows(row, lab)
        except RuntimeError:
            if isinstance(row, Tunnel | SystemTunnel):
                raise  # other clients may end them (Xray's does with VMess), which is no reason to measure no more
        if plan.syscalls:
            figures["sys_up"] = syscalls_per_mb(row, lab, plan, reverse=False)
            figures["sys_down"] = syscalls_per_mb(row, lab, plan, reverse=True)
    if isinstance(row, Tunnel):
        figures["start_cpu"] = start_cpu(row, lab)
        figures["first_byte"] = first_byte(row, lab)
    if isinstance(row, SystemTunnel):
        figures["first_byte"] = row.first_byte()


def run(row: Row, lab: Lab, argv: Sequence[str], timeout: float = 120.0) -> str:
    """Standard output of `argv` run through the row. Raises RuntimeError."""
    done = subprocess.run(
        row.command(argv),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=lab.client.env,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{argv[0]} through {row.name}: {(done.stdout + done.stderr).strip()[-500:]}")
    return done.stdout


def bulk(row: Row, lab: Lab, plan: Plan, streams: int, *, reverse: bool) -> Transfer:
    """iperf3 with as many streams, up (client to site) or in reverse."""
    argv = ["iperf3", "-J", "-c", SITE4, "-p", str(IPERF_PORT), "-P", str(streams)]
    argv += ["-t", f"{plan.seconds:g}", "-O", str(plan.omit), *(["-R"] if reverse else [])]
    pids = row.pids()
    before = sum(map(cpu_seconds, pids))
    iperf = subprocess.Popen(
        row.command(argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=lab.client.env
    )
    time.sleep(plan.omit + plan.seconds / 2)
    fds = sum(map(open_fds, pids))
    try:
        output, _ = iperf.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        iperf.kill()
        iperf.wait()
        raise RuntimeError(f"iperf3 through {row.name} did not end within {PATIENCE:g} s") from None
    used = sum(map(cpu_seconds, pids)) - before
    report: dict[str, Any] = json.loads(output) if output.startswith("{") else {"error": output}
    if "error" in report:
        raise RuntimeError(f"iperf3 through {row.name}: {report['error']}")
    rate = float(report["end"]["sum_received"]["bits_per_second"])
    gigabytes = rate * (plan.seconds + plan.omit) / 8e9
    return Transfer(rate / 1e6, used / gigabytes if pids and gigabytes else None, fds)


def http(row: Row, lab: Lab, plan: Plan, connections: int, *, close: bool, url: str = SMALL_URL) -> float:
    """Answers of 1 KB per second, on new connections when `close` is set, with as many at once. Raises RuntimeError."""
    header = ["-H", "Connection: close"] if close else []
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{plan.seconds:g}s", *header, url]
    output = run(row, lab, argv)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if rate is None or "Non-2xx" in output:
        raise RuntimeError(f"wrk through {row.name}: {output}")
    return float(rate.group(1))


def udp(row: Row, lab: Lab, plan: Plan) -> float:
    """Echoes of 64 bytes per second, 64 under way."""
    script = [sys.executable, str(SCRIPTS / "udp_echo.py"), "load", SITE4, str(UDP_ECHO_PORT)]
    return float(json.loads(run(row, lab, [*script, f"{plan.seconds:g}", "64", "64"]))["per_second"])


def idle_flows(row: Row, lab: Lab) -> tuple[float, float]:
    """MiB and descriptors that the client side holds while `IDLE_FLOWS` connections are open and idle."""
    script = [sys.executable, str(SCRIPTS / "hold.py"), SITE4, str(SERVICES_PORT), str(IDLE_FLOWS)]
    with subprocess.Popen(
        row.command(script), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=lab.client.env
    ) as holding:
        assert holding.stdout is not None
        opened = json.loads(holding.stdout.readline())
        figures = (sum(map(rss_mib, row.pids())), float(sum(map(open_fds, row.pids()))))
        holding.communicate()
    if opened["open"] != IDLE_FLOWS:
        raise RuntimeError(f"{IDLE_FLOWS} flows through {row.name}: {opened}")
    return figures


def start_cpu(row: Tunnel, lab: Lab) -> float:
    """CPU seconds of `tunflow run -- true`, everything it starts included."""
    process = subprocess.Popen(lab.client.command(row.run_command(["true"])), env=lab.client.env)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"tunflow run -- true ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def first_byte(row: Tunnel, lab: Lab) -> float:
    """Seconds from the start of `tunflow run -- curl` to the first byte from the site."""
    command = lab.client.command(row.run_command(["curl", "-sN", SMALL_URL]))
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=lab.client.env) as process:
        assert process.stdout is not None
        got = process.stdout.read(1)
        elapsed = time.perf_counter() - start
        process.stdout.read()
    if not got:
        raise RuntimeError(f"tunflow run -- curl ended with {process.returncode}")
    return elapsed


def syscalls_per_mb(row: Row, lab: Lab, plan: Plan, *, reverse: bool) -> float:
    """System calls of the client side per megabyte of one bulk stream, counted by strace."""
    summary = Path(lab.directory / "strace.txt")
    attach = [part for pid in row.pids() for part in ("-p", str(pid))]
    tracer = subprocess.Popen(["strace", "-c", "-f", "-o", str(summary), *attach], stderr=subprocess.DEVNULL)
    time.sleep(0.5)  # strace says nothing to a pipe once it is attached
    transfer = bulk(row, lab, plan, 1, reverse=reverse)
    tracer.send_signal(signal.SIGINT)
    tracer.wait(10)
    total = next(line for line in summary.read_text().splitlines() if line.endswith("total"))
    megabytes = transfer.mbits * (plan.seconds + plan.omit) / 8
    return int(total.split()[3]) / megabytes
