"""`tunflow up` on a host of the lab: its commands, and a picture of everything on the host that it may change."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.netlab.namespaces import SITE4, Lab, Namespace
from bench.netlab.tunnel import TUNFLOW, shadowsocks_url

from tunflow.control.client import ask
from tunflow.errors import LocalError, RemoteError

DNS = f"tcp://{SITE4}:53"

PICTURE = (
    "ip -d addr; ip rule; ip -6 rule; ip route show table all; ip -6 route show table all; nft list ruleset; "
    "ls -l --time-style=+ /etc/resolv.conf; cat /etc/resolv.conf; "
    "sysctl -a --pattern '^net\\.ipv[46]\\.(conf|ip_forward)' 2>/dev/null; "
)
_CHANGING = re.compile(
    r"valid_lft \w+|preferred_lft \w+|expires \w+|age \w+|\bqlen \d+|\w+_timer +[\d.]+|.*stable_secret.*"
)
"""What moves by itself."""


class System:
    """One host with its own runtime directory; leaving it takes the tunnel down, whatever state it is in.

    `prefix` is a command that stands in front of tunflow.
    """

    processes = Path("/proc")

    def __init__(self, lab: Lab, host: Namespace | None = None, prefix: Sequence[str] = ()) -> None:
        self.lab = lab
        self.prefix = prefix
        self.host = host or lab.client
        self.url = shadowsocks_url()
        self.secret = self.url.partition("://")[2].partition("@")[0]

    def __enter__(self) -> System:
        self.directory = Path(tempfile.mkdtemp(prefix="up-", dir=self.lab.directory))
        self.directory.chmod(0o711)  # the tunnel goes on as an unprivileged user
        self.env = {**self.host.env, "TUNFLOW_RUNTIME_DIR": str(self.directory / "run"), "TUNFLOW_SERVER": self.url}
        self.env["TUNFLOW_DATA_DIR"] = str(self.directory / "data")
        return self

    def __exit__(self, *exc: object) -> None:
        left = self.tunflow("down")
        shutil.rmtree(self.directory, ignore_errors=True)
        assert left.returncode == 0 or exc[0] is not None, left.stderr

    def tunflow(self, *arguments: str, timeout: float = 120.0, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a tunflow command on the host to its end, which only a failure keeps waiting for."""
        return subprocess.run(
            self.host.command([*self.prefix, TUNFLOW, *arguments]),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**self.env, **env},
            check=False,
        )

    def ok(self, *arguments: str, **env: str) -> str:
        """What a tunflow command prints that succeeds."""
        done = self.tunflow(*arguments, **env)
        assert done.returncode == 0, (arguments, done.returncode, done.stdout, done.stderr, self.log())
        return done.stdout

    def up(self, *arguments: str) -> None:
        """`tunflow up` through the lab's server."""
        dns = () if "--dns" in arguments else ("--dns", DNS)
        self.ok("up", *dns, *arguments)

    def status(self) -> dict[str, Any]:
        """What `status --json` says."""
        return dict(json.loads(self.tunflow("status", "--json").stdout))

    def facts(self) -> dict[str, Any]:
        """The same, for who waits until it says something: a start of tunflow for each look takes a CPU for itself.

        The tunnel's process is asked here, five times a second. Where none answers, `status` says how it stands.
        """
        time.sleep(0.2)
        try:
            return ask(self.directory / "run" / "control", "status")
        except (LocalError, RemoteError):
            return self.status()

    def kill(self) -> None:
        """Kill both processes with -9: nobody puts anything back, and nobody starts anything again."""
        facts = self.status()
        os.kill(facts["helper"], signal.SIGKILL)
        deadline = time.monotonic() + 60
        while is_running(facts["pid"]):  # it goes with the other
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def log(self) -> str:
        """The tunnel's log so far."""
        path = self.directory / "run" / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def fetch(self, url: str, *options: str, timeout: float = 30.0) -> int:
        """Bytes that curl gets from `url`; 0 when it gets none."""
        argv = ["curl", "-sS", "-m", str(timeout), "-o", "/dev/null", "-w", "%{size_download}", *options, url]
        done = self.run(argv)
        return int(done.stdout or 0) if done.returncode == 0 else 0

    def run(self, argv: Sequence[str], timeout: float = 90.0) -> subprocess.CompletedProcess[str]:
        """Run a program on the host to its end, successful or not."""
        return self.host.run(argv, timeout=timeout, check=False)

    def snapshot(self) -> str:
        """Everything that a tunnel may change on the host, as text that is the same when nothing changed."""
        return picture(self.host)


def picture(host: Namespace, more: str = "") -> str:
    """What is set on a host, and what the shell commands `more` say, without what moves by itself."""
    return _CHANGING.sub("", host.run(["sh", "-c", PICTURE + more], check=False).stdout)


def client(name: str, *arguments: object) -> list[str]:
    """The command of a script in `clients/`."""
    return [sys.executable, str(Path(__file__).parent / "clients" / f"{name}.py"), *map(str, arguments)]


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def is_running(pid: int) -> bool:
    """Whether there is such a process that has not ended, as a zombie has."""
    try:
        return not Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].startswith(" Z")
    except OSError:
        return False
