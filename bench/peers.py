"""Other programs that do what tunflow does, as rows: installed when a row is asked for, never by `./test`.

The wheels go to `build/peers`, Debian's packages into the system. A peer with a TUN device gets the route to the site
on C; one that serves a network namespace, as `tunflow run` does, gets one that only waits. pasta (passt) is not among
them: it makes a user namespace of its own, which it may not do where these rows run.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.netlab.namespaces import SERVER4, SITE4, Lab, use_congestion
from bench.netlab.peers import PASSWORD, SCRIPTS, SHADOWSOCKS_PORT
from bench.netlab.processes import Process
from bench.netlab.tunnel import METHOD

WHEELS = Path(__file__).parent.parent / "build" / "peers"
DEVICE = "peer0"
INSIDE = "198.18.77.1/24"
PATIENCE = 20.0


def install_wheel(name: str) -> None:
    """The wheel `name` in `WHEELS`. Raises RuntimeError."""
    if importlib.util.find_spec(name) is not None or (WHEELS / name).exists():
        return
    argv = [sys.executable, "-m", "pip", "install", "-q", "--only-binary", ":all:", "--no-deps"]
    _install([*argv, "--target", str(WHEELS), name], name)


def install_package(program: str, package: str) -> None:
    """Debian's `package`, which has `program`. Raises RuntimeError."""
    if shutil.which(program) is None:
        _install(["apt-get", "install", "-y", "-q", "--no-install-recommends", package], package)


def _install(argv: list[str], what: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{what} cannot be installed: {(done.stdout + done.stderr).strip()[-300:]}")


class OnTUN:
    """A program in Python's clothes that serves a TUN device: `script` with its arguments, from a wheel."""

    def __init__(self, name: str, wheel: str, script: str, *arguments: str) -> None:
        self.name = name
        self._wheel = wheel
        self._argv = [sys.executable, str(SCRIPTS / script), *arguments]

    def start(self, lab: Lab) -> None:
        """Start it and give its device the route to the site."""
        install_wheel(self._wheel)
        self._lab = lab
        self._process = lab.start(lab.client, self._argv, env={"PYTHONPATH": str(WHEELS)})
        route_to_device(lab, self._process, self.name)

    def stop(self) -> None:
        """End it; its device goes with it."""
        self._process.stop()

    def command(self, argv: Sequence[str]) -> list[str]:
        """Plainly on C: the route catches it."""
        return self._lab.client.command(argv)

    def pids(self) -> list[int]:
        """The program."""
        return [self._process.pid]


class OnNamespace:
    """A program that connects a network namespace without privileges of its own there: a peer of `tunflow run`."""

    def __init__(self, name: str, program: str, package: str, *arguments: str) -> None:
        self.name = name
        self._program = program
        self._package = package
        self._arguments = arguments

    def start(self, lab: Lab) -> None:
        """Make a namespace and connect it."""
        install_package(self._program, self._package)
        self._holder = lab.start(lab.client, ["unshare", "-n", "sleep", "infinity"])
        _wait_for_namespace(self._holder)
        subprocess.run(self.command(["ip", "link", "set", "lo", "up"]), check=True)
        use_congestion(self.command, lab.congestion)
        argv = [part.format(pid=self._holder.pid) for part in self._arguments]
        self._process = lab.start(lab.client, [self._program, *argv])
        deadline = time.monotonic() + PATIENCE
        while subprocess.run(self.command(["ip", "route", "get", SITE4]), capture_output=True, check=False).returncode:
            if self._process.popen.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} gives no route: {self._process.output()[-500:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End both."""
        self._process.stop()
        self._holder.stop()

    def command(self, argv: Sequence[str]) -> list[str]:
        """In its namespace."""
        return ["nsenter", "-t", str(self._holder.pid), "-n", *argv]

    def pids(self) -> list[int]:
        """The program."""
        return [self._process.pid]


def route_to_device(lab: Lab, process: Process, name: str) -> None:
    """Give the device that a program makes an address and the route to the site. Raises RuntimeError."""
    deadline = time.monotonic() + PATIENCE
    while lab.client.run(["ip", "link", "show", DEVICE], check=False).returncode:
        if process.popen.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{name} makes no device: {process.output()[-500:]}")
        time.sleep(0.05)
    for argv in (
        ["addr", "add", INSIDE, "dev", DEVICE],
        ["link", "set", DEVICE, "up"],
        ["route", "add", SITE4, "dev", DEVICE],
    ):
        lab.client.run(["ip", *argv], check=argv[0] != "addr")


def _wait_for_namespace(holder: Process) -> None:
    own = Path("/proc/self/ns/net").readlink()
    deadline = time.monotonic() + PATIENCE
    link = Path(f"/proc/{holder.pid}/ns/net")
    comm = Path(f"/proc/{holder.pid}/comm")
    while comm.read_text().strip() != "sleep" or link.readlink() == own:
        if time.monotonic() > deadline:
            raise RuntimeError("no network namespace")
        time.sleep(0.02)


SERVER = f"ss://{METHOD}:{PASSWORD}@{SERVER4}:{SHADOWSOCKS_PORT}"


def tun2socks(name: str, proxy: str) -> OnTUN:
    """xjasonlyu/tun2socks: gVisor's stack, in Go."""
    return OnTUN(name, "tun2socks", "tun2socks_tun.py", DEVICE, "eth0", proxy)


def mitmproxy_rs(name: str) -> OnTUN:
    """smoltcp, in Rust, with asyncio above it."""
    return OnTUN(name, "mitmproxy_rs", "mitmproxy_tun.py", DEVICE, "eth0")


def slirp4netns(name: str) -> OnNamespace:
    """libslirp, in C: what rootless containers had first."""
    return OnNamespace(name, "slirp4netns", "slirp4netns", "--configure", "--mtu=65520", "{pid}", "tap0")
