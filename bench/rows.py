"""What is measured: one class per way from C to the site, with how to start it and how to run a program
through it.

A row that is running says which processes are its client side, so that their CPU time, memory and
descriptors can be read; the limit has none. A new peer is one more class here and one more entry in `ROWS`.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from bench import peers
from bench.netlab.namespaces import SITE4, Lab, use_congestion
from bench.netlab.peers import start_shadowsocks_redirect, stop_redirecting
from bench.netlab.processes import descendants
from bench.netlab.tunnel import COMPILED, METHOD, TUNFLOW, HeldTunnel, run_command, shadowsocks_url


class Row(Protocol):
    """A way from C to the site."""

    name: str

    def start(self, lab: Lab) -> None:
        """Make it ready. Raises RuntimeError."""

    def stop(self) -> None:
        """Take it down."""

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv` as it is run through this row."""

    def pids(self) -> list[int]:
        """The processes of its client side."""


class Limit:
    """The veth alone: no tunnel, no proxy."""

    name = "limit"

    def start(self, lab: Lab) -> None:
        """Nothing to start."""
        self._lab = lab

    def stop(self) -> None:
        """Nothing to stop."""

    def command(self, argv: Sequence[str]) -> list[str]:
        """Plainly on C."""
        return self._lab.client.command(argv)

    def pids(self) -> list[int]:
        """None."""
        return []


class Redirect:
    """ss-redir behind an nftables redirect, to ss-server: the kernel's own way, in C."""

    name = "ss-redir"

    def start(self, lab: Lab) -> None:
        """Start ss-redir and its rules."""
        self._lab = lab
        self._process = start_shadowsocks_redirect(lab, METHOD)

    def stop(self) -> None:
        """Take the rules back and end it."""
        stop_redirecting(self._lab, self._process)

    def command(self, argv: Sequence[str]) -> list[str]:
        """Plainly on C: the rules catch it."""
        return self._lab.client.command(argv)

    def pids(self) -> list[int]:
        """ss-redir."""
        return [self._process.pid]


class Tunnel:
    """`tunflow run` with one server."""

    def __init__(self, name: str, url: str, program: str = TUNFLOW) -> None:
        self.name = name
        self.url = url
        self.program = program

    def start(self, lab: Lab) -> None:
        """Start `tunflow run` on a program that waits, with the lab's congestion control where it waits."""
        self._held = HeldTunnel(lab, self.run_command)
        use_congestion(self._held.command, lab.congestion)

    def stop(self) -> None:
        """End it."""
        self._held.stop()

    def run_command(self, argv: Sequence[str]) -> list[str]:
        """A `tunflow run` of its own for `argv`."""
        return run_command(argv, server=self.url, dns="off", program=self.program)

    def command(self, argv: Sequence[str]) -> list[str]:
        """Inside the namespaces that `tunflow run` made."""
        return self._held.command(argv)

    def pids(self) -> list[int]:
        """`tunflow run` and what it forked."""
        return self._held.pids()


class SystemTunnel:
    """`tunflow up` on C: everything on the host goes through it."""

    name = "tunflow up ss://"

    def start(self, lab: Lab) -> None:
        """Bring it up. Raises RuntimeError."""
        self._lab = lab
        self._tunflow(["up", "--dns", "off"])

    def stop(self) -> None:
        """Take it down."""
        self._tunflow(["down"])

    def command(self, argv: Sequence[str]) -> list[str]:
        """Plainly on C."""
        return self._lab.client.command(argv)

    def pids(self) -> list[int]:
        """The tunnel's process and its helper."""
        return descendants(int(json.loads(self._tunflow(["status", "--json"]))["pid"]))

    def first_byte(self) -> float:
        """Seconds from the start of `tunflow up` to the first byte that curl gets through it."""
        self.stop()
        start = time.perf_counter()
        self.start(self._lab)
        command = self.command(["curl", "-sN", f"http://{SITE4}/1k"])
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=self._lab.client.env) as process:
            assert process.stdout is not None
            got = process.stdout.read(1)
            elapsed = time.perf_counter() - start
            process.stdout.read()
        if not got:
            raise RuntimeError(f"curl through tunflow up ended with {process.returncode}")
        return elapsed

    def _tunflow(self, arguments: Sequence[str]) -> str:
        runtime = self._lab.directory / "up"
        env = {**self._lab.client.env, "TUNFLOW_RUNTIME_DIR": str(runtime), "TUNFLOW_SERVER": shadowsocks_url()}
        command = self._lab.client.command([TUNFLOW, *arguments])
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)
        if done.returncode:
            raise RuntimeError(f"tunflow {arguments[0]} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout


def _stream(protocol: str, mux: str = "") -> Row:
    """`tunflow run` through a server of Xray's or sing-box's; their wheels are for who asks for them."""
    from bench.stream_rows import StreamTunnel  # noqa: PLC0415

    return StreamTunnel(protocol, mux)


def _client(protocol: str, kind: str) -> Row:
    """Xray's client, or sing-box's, to the same server."""
    from bench import client_rows  # noqa: PLC0415

    kinds: dict[str, Callable[[str], Row]] = {
        "redirect": client_rows.XrayRedirect,
        "tun": client_rows.XrayTUN,
        "sing-box": client_rows.SingBoxTUN,
    }
    return kinds[kind](protocol)


def _compiled(name: str, url: str) -> Row:
    """`tunflow run` with its hot path compiled, of this source. Raises RuntimeError where that was not made."""
    if not Path(COMPILED).exists():
        raise RuntimeError("the compiled rows need .venv-compiled, which `./demo --compiled` makes")
    return Tunnel(f"{name} compiled", url, COMPILED)


PEERS: dict[str, Callable[[], Row]] = {
    "compiled-ss": lambda: _compiled("tunflow ss://", shadowsocks_url()),
    "compiled-direct": lambda: _compiled("tunflow direct://", "direct://"),
    "tun2socks-ss": lambda: peers.tun2socks("tun2socks ss://", peers.SERVER),
    "tun2socks-direct": lambda: peers.tun2socks("tun2socks direct://", "direct://"),
    "mitmproxy-direct": lambda: peers.mitmproxy_rs("mitmproxy_rs direct"),
    "slirp4netns": lambda: peers.slirp4netns("slirp4netns"),
    "tunflow-trojan": lambda: _stream("trojan"),
    "tunflow-vless": lambda: _stream("vless"),
    "tunflow-vmess": lambda: _stream("vmess"),
    "tunflow-trojan-mux": lambda: _stream("trojan", "mux.cool"),
    "tunflow-hysteria2": lambda: _stream("hysteria2"),
    "xray-trojan": lambda: _client("trojan", "redirect"),
    "xray-vless": lambda: _client("vless", "redirect"),
    "xray-vmess": lambda: _client("vmess", "redirect"),
    "xray-tun-trojan": lambda: _client("trojan", "tun"),
    "xray-tun-vless": lambda: _client("vless", "tun"),
    "xray-tun-vmess": lambda: _client("vmess", "tun"),
    "sing-box-hysteria2": lambda: _client("hysteria2", "sing-box"),
}
"""For who asks for them by `--rows`: other programs, which are installed then, and ours compiled."""

ROWS: dict[str, Callable[[], Row]] = {
    "limit": Limit,
    "ss-redir": Redirect,
    "tunflow-ss": lambda: Tunnel("tunflow ss://", shadowsocks_url()),
    "tunflow-up": SystemTunnel,
    "tunflow-direct": lambda: Tunnel("tunflow direct://", "direct://"),
}
