"""`python -m bench.vpn`: packet VPNs beside each other over one veth: ours (ShadowVPN) and openvpn (AES-256-GCM, UDP).

Each row is a tunnel from C to S, up one at a time; iperf3 and ping go to the tunnel's far end. Medians of the rounds,
and ratios to openvpn of the same run. Needs root, openvpn and openssl.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median

from bench.netlab.namespaces import SERVER4, SITE4, Lab
from bench.netlab.peers import IPERF_PORT, start_iperf3, wait_reachable
from bench.netlab.processes import Process, cpu_seconds
from bench.netlab.tunnel import TUNFLOW, HeldTunnel

PORT = 1123
OPENVPN_PORT = 1194
PROVIDER = "tunflow.providers.shadowvpn:ShadowVPNProvider"
ROWS = ("limit", "openvpn", "shadowvpn", "shadowvpn-9000")


@dataclass(frozen=True)
class Running:
    """A tunnel that is up: what stands in front of a command on C, and the processes that work for it."""

    runner: list[str]
    pids: list[int]


@dataclass(frozen=True)
class Sample:
    """Mbit/s up and down, CPU seconds of both ends for a gigabyte up and down, median round trip in ms when idle."""

    up: float
    down: float
    cpu_up: float
    cpu_down: float
    ping: float


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.vpn", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"which of {', '.join(ROWS)}")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("bench.vpn: network namespaces need root", file=sys.stderr)
        return 2
    rows = options.rows.split(",")
    found: dict[str, list[Sample]] = {row: [] for row in rows}
    with Lab() as lab:
        start_iperf3(lab)
        wait_reachable(lab)
        for _ in range(options.rounds):
            for row in rows:
                with TUNNELS[row](lab) as running:
                    found[row].append(_measure(lab, running, options.seconds))
    _print(found)
    return 0


@contextmanager
def _limit(_: Lab) -> Iterator[Running]:
    yield Running([], [])


@contextmanager
def _shadowvpn(lab: Lab, mtu: int = 1432) -> Iterator[Running]:
    with ExitStack() as stack:
        server = stack.enter_context(
            lab.start(lab.server, [TUNFLOW, "serve", f"shadowvpn://secret@{SERVER4}:{PORT}?mtu={mtu}"])
        )
        _wait(server, "serving")
        link = f"link=shadowvpn://secret@{SERVER4}:{PORT}?mtu={mtu}"
        tunnel = HeldTunnel(lab, lambda argv: [TUNFLOW, "run", "--provider", PROVIDER, "--config", link, "--", *argv])
        stack.callback(tunnel.stop)
        yield Running(tunnel.command([]), [server.pid, *tunnel.pids()])


@contextmanager
def _openvpn(lab: Lab) -> Iterator[Running]:
    """openvpn as its manual sets up two hosts: TLS with certificates, AES-256-GCM, UDP, offloads as they come."""
    where = lab.directory
    _certificates(where)
    common = ["--dev", "ovpn0", "--dev-type", "tun", "--proto", "udp", "--cipher", "AES-256-GCM",
              "--data-ciphers", "AES-256-GCM", "--ca", f"{where}/ca.crt", "--verb", "3"]  # fmt: skip
    with ExitStack() as stack:
        server = stack.enter_context(
            lab.start(lab.server, ["openvpn", *common, "--dh", "none", "--tls-server", "--local", SERVER4,
                                   "--port", str(OPENVPN_PORT), "--cert", f"{where}/server.crt",
                                   "--key", f"{where}/server.key", "--ifconfig", "10.8.0.1", "10.8.0.2",
                                   "--route", "10.8.0.2"])
        )  # fmt: skip
        _wait(server, "Initialization|UDPv4 link local")
        client = stack.enter_context(
            lab.start(lab.client, ["openvpn", *common, "--tls-client", "--remote", SERVER4, str(OPENVPN_PORT),
                                   "--cert", f"{where}/client.crt", "--key", f"{where}/client.key", "--ifconfig",
                                   "10.8.0.2", "10.8.0.1", "--route", SITE4, "255.255.255.255", "10.8.0.1"])
        )  # fmt: skip
        _wait(client, "Initialization Sequence Completed")
        yield Running([], [server.pid, client.pid])


@contextmanager
def _shadowvpn_9000(lab: Lab) -> Iterator[Running]:
    with _shadowvpn(lab, 9000) as running:
        yield running


TUNNELS = {
    "limit": _limit,
    "openvpn": _openvpn,
    "shadowvpn": _shadowvpn,
    "shadowvpn-9000": _shadowvpn_9000,
}


def _measure(lab: Lab, running: Running, seconds: int) -> Sample:
    def run(argv: Sequence[str]) -> str:
        return lab.client.run([*running.runner, *argv], timeout=60).stdout

    rates, cpu = [], []
    for direction in ([], ["-R"]):
        before = sum(map(cpu_seconds, running.pids))
        text = run(["iperf3", "-J", "-c", SITE4, "-p", str(IPERF_PORT), "-t", str(seconds), "-O", "1", *direction])
        used = sum(map(cpu_seconds, running.pids)) - before
        rate = json.loads(text)["end"]["sum_received"]["bits_per_second"]
        rates.append(rate / 1e6)
        cpu.append(used / (rate * (seconds + 1) / 8e9))
    pings = re.findall(r"time=([0-9.]+)", run(["ping", "-c", "100", "-i", "0.01", SITE4]))
    return Sample(rates[0], rates[1], cpu[0], cpu[1], median(map(float, pings)))


def _print(found: dict[str, list[Sample]]) -> None:
    medians = {}
    for row, samples in found.items():
        up, down, cpu_up, cpu_down, ping = map(median, zip(*map(astuple, samples), strict=True))
        medians[row] = Sample(up, down, cpu_up, cpu_down, ping)
    print("|  | up Mbit/s | down Mbit/s | CPU s/GB up | CPU s/GB down | ping ms |\n|---|--:|--:|--:|--:|--:|")
    for row, each in medians.items():
        print(
            f"| {row} | {each.up:,.0f} | {each.down:,.0f} | {each.cpu_up:.1f} | {each.cpu_down:.1f} | {each.ping:.3f} |"
        )
    theirs = medians.get("openvpn")
    for row, each in medians.items():
        if theirs is not None and row not in {"openvpn", "limit"}:
            cpu = f"{each.cpu_up / theirs.cpu_up:.2f} | {each.cpu_down / theirs.cpu_down:.2f}"
            print(f"| {row} / openvpn | {each.up / theirs.up:.2f} | {each.down / theirs.down:.2f} | {cpu} | - |")


def _wait(process: Process, pattern: str) -> None:
    deadline = time.monotonic() + 15
    while not re.search(pattern, process.output()):
        if time.monotonic() > deadline or process.popen.poll() is not None:
            raise RuntimeError(f"does not start: {process.output()[-2000:]}")
        time.sleep(0.02)


def _certificates(where: Path) -> None:
    if (where / "ca.crt").exists():
        return

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=where, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=lab")
    for name in ("server", "client"):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days",
                "2", "-out", f"{name}.crt")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
