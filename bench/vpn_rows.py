"""The packet VPNs that `bench.vpn` has beside each other: each as a context in which a tunnel from C to S is up."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.netlab.namespaces import SERVER4, SITE4, Lab, Namespace
from bench.netlab.processes import Process
from bench.netlab.tunnel import TUNFLOW, HeldTunnel

SHADOWVPN_PORT = 1123
OPENVPN_PORT = 1194
WIREGUARD_PORT = 51820
START = 15.0
"""Seconds that a tunnel may take to be up."""


@dataclass(frozen=True)
class Running:
    """A tunnel that is up: what stands in front of a command on C, and the processes that work for it."""

    runner: list[str]
    pids: list[int]


@dataclass(frozen=True)
class VPN:
    """A row: its name in tables, how it is started, and the row that it is to be compared with ("" for none)."""

    name: str
    start: Callable[[Lab], AbstractContextManager[Running]]
    beside: str = ""


def rows(wireguard_go: str) -> dict[str, VPN]:
    """All rows, by key; `wireguard_go` is the program of that name."""
    return {
        "limit": VPN("no tunnel", _limit),
        "openvpn": VPN("openvpn, AES-256-GCM", _openvpn),
        "wireguard-go": VPN("wireguard-go", lambda lab: _wireguard_go(lab, wireguard_go)),
        "tunflow-openvpn": VPN("tunflow, OpenVPN", _tunflow_openvpn, "openvpn"),
        "tunflow-wireguard": VPN("tunflow, WireGuard", _tunflow_wireguard, "wireguard-go"),
        "tunflow-to-wireguard-go": VPN(
            "tunflow to wireguard-go", lambda lab: _tunflow_to_wireguard_go(lab, wireguard_go), "wireguard-go"
        ),
        "shadowvpn": VPN("tunflow, ShadowVPN", _shadowvpn, "openvpn"),
        "shadowvpn-9000": VPN("the same, MTU 9000", lambda lab: _shadowvpn(lab, 9000), "openvpn"),
    }


def version_of(*argv: str) -> str:
    """What a program says it is."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return next(iter((done.stdout + done.stderr).strip().splitlines()), "")


@contextmanager
def _limit(_: Lab) -> Iterator[Running]:
    yield Running([], [])


@contextmanager
def _ours(lab: Lab, serve: list[str], run: list[str]) -> Iterator[Running]:
    """tunflow at both ends."""
    with ExitStack() as stack:
        server = stack.enter_context(lab.start(lab.server, [TUNFLOW, "serve", *serve]))
        _wait(server, "serving")
        with _held(lab, run) as held:
            yield Running(held.command([]), [server.pid, *held.pids()])


@contextmanager
def _held(lab: Lab, run: list[str]) -> Iterator[HeldTunnel]:
    held = HeldTunnel(lab, lambda argv: [TUNFLOW, "run", *run, "--", *argv])
    try:
        yield held
    finally:
        held.stop()


def _shadowvpn(lab: Lab, mtu: int = 1432) -> AbstractContextManager[Running]:
    link = f"shadowvpn://secret@{SERVER4}:{SHADOWVPN_PORT}?mtu={mtu}"
    return _ours(lab, [link], ["--server", link])


# OpenVPN.


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


def _tunflow_openvpn(lab: Lab) -> AbstractContextManager[Running]:
    where = lab.directory
    _certificates(where)
    common = "data-ciphers AES-256-GCM\nca ca.crt\n"
    server, client = where / "openvpn-server.conf", where / "openvpn-client.ovpn"
    server.write_text(
        f"server 10.8.0.0 255.255.255.0\nlocal {SERVER4}\nport {OPENVPN_PORT}\n{common}"
        f'cert server.crt\nkey server.key\npush "route {SITE4} 255.255.255.255"\nkeepalive 10 60\n'
    )
    client.write_text(
        f"client\ndev tun\nproto udp\nremote {SERVER4} {OPENVPN_PORT}\n{common}cert client.crt\nkey client.key\n"
    )
    return _ours(lab, [str(server)], ["--profile", str(client)])


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


# WireGuard.


@dataclass(frozen=True)
class WireGuardFiles:
    """A wg-quick file for each end, and what `wg setconf` takes of each."""

    server: Path
    client: Path
    server_alone: Path
    client_alone: Path


def _wireguard_files(where: Path) -> WireGuardFiles:
    def wg(what: str, given: str = "") -> str:
        return subprocess.run(["wg", what], input=given, capture_output=True, text=True, check=True).stdout.strip()

    privates = [wg("genkey"), wg("genkey")]
    publics = [wg("pubkey", each) for each in privates]
    files = WireGuardFiles(*(where / f"wireguard-{name}.conf" for name in ("s", "c", "s-alone", "c-alone")))
    for whole, alone, own, others, address, interface, peer in (
        (files.server, files.server_alone, 0, 1, "10.9.0.1/24", f"ListenPort = {WIREGUARD_PORT}",
         "AllowedIPs = 10.9.0.2/32"),
        (files.client, files.client_alone, 1, 0, "10.9.0.2/24", "",
         f"AllowedIPs = 0.0.0.0/0\nEndpoint = {SERVER4}:{WIREGUARD_PORT}"),
    ):  # fmt: skip
        head = f"[Interface]\nPrivateKey = {privates[own]}\n{interface}\n"
        tail = f"[Peer]\nPublicKey = {publics[others]}\n{peer}\n"
        whole.write_text(f"{head}Address = {address}\n{tail}")
        alone.write_text(head + tail)
    return files


def _tunflow_wireguard(lab: Lab) -> AbstractContextManager[Running]:
    files = _wireguard_files(lab.directory)
    return _ours(lab, [str(files.server)], ["--profile", str(files.client)])


@contextmanager
def _tunflow_to_wireguard_go(lab: Lab, program: str) -> Iterator[Running]:
    files = _wireguard_files(lab.directory)
    with (
        _interface(lab, lab.server, program, files.server_alone, "10.9.0.1/24") as (_, server),
        _held(lab, ["--profile", str(files.client)]) as held,
    ):
        yield Running(held.command([]), [server.pid, *held.pids()])


@contextmanager
def _wireguard_go(lab: Lab, program: str) -> Iterator[Running]:
    files = _wireguard_files(lab.directory)
    with (
        _interface(lab, lab.server, program, files.server_alone, "10.9.0.1/24") as (_, server),
        _interface(lab, lab.client, program, files.client_alone, "10.9.0.2/24") as (name, client),
    ):
        lab.client.run(["ip", "route", "add", SITE4, "dev", name])
        yield Running([], [server.pid, client.pid])


@contextmanager
def _interface(lab: Lab, host: Namespace, program: str, config: Path, address: str) -> Iterator[tuple[str, Process]]:
    """An interface of wireguard-go's, by name; its control socket is in one folder for all namespaces."""
    name = f"wgb{os.getpid()}{host.name[-1]}"
    with lab.start(host, [program, "-f", name]) as process:
        deadline = time.monotonic() + START
        while host.run(["wg", "show", name], check=False).returncode:
            if time.monotonic() > deadline:
                raise RuntimeError(f"wireguard-go does not start: {process.output()[-2000:]}")
            time.sleep(0.05)
        host.run(["wg", "setconf", name, str(config)])
        host.run(["ip", "address", "add", address, "dev", name])
        host.run(["ip", "link", "set", name, "mtu", "1420", "up"])
        yield name, process


def _wait(process: Process, pattern: str) -> None:
    deadline = time.monotonic() + START
    while not re.search(pattern, process.output()):
        if time.monotonic() > deadline or process.popen.poll() is not None:
            raise RuntimeError(f"does not start: {process.output()[-2000:]}")
        time.sleep(0.02)
