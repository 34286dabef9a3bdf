"""`tunflow run` as the lab uses it: its command line, and a tunnel that is held open to put programs into."""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.netlab.namespaces import SERVER4, Lab
from bench.netlab.peers import PASSWORD, SHADOWSOCKS_PORT
from bench.netlab.processes import Process, cmdline, descendants

TUNFLOW = str(Path(sys.executable).with_name("tunflow"))
COMPILED = str(Path(__file__).parents[2] / ".venv-compiled/bin/tunflow")
"""The same source with the hot path as machine code: `./demo --compiled` makes it."""
METHOD = "aes-256-gcm"
HOLDER = ["sleep", "infinity"]
"""What `tunflow run` runs while programs are put into its namespaces."""


def shadowsocks_url(
    method: str = METHOD, password: str = PASSWORD, host: str = SERVER4, port: int = SHADOWSOCKS_PORT
) -> str:
    """A SIP002 link to an ss-server, by default S's."""
    userinfo = base64.urlsafe_b64encode(f"{method}:{password}".encode()).decode().rstrip("=")
    return f"ss://{userinfo}@{f'[{host}]' if ':' in host else host}:{port}"


def run_command(
    argv: Sequence[str], *, server: str | None, dns: str, options: Sequence[str] = (), program: str = TUNFLOW
) -> list[str]:
    """`tunflow run` for `argv`; without a server when that is None."""
    servers = ["--server", server] if server is not None else []
    return [program, "run", *servers, "--dns", dns, *options, "--", *argv]


def start_tunflow_server(lab: Lab, url: str, port: int) -> Process:
    """`tunflow serve` on S, whose own addresses are the targets."""
    server = lab.start(lab.server, [TUNFLOW, "serve", "--allow-local", url])
    server.wait_listening(port)
    return server


class HeldTunnel:
    """A `tunflow run` whose program only waits, so that others can be run in the same tunnel from outside."""

    def __init__(self, lab: Lab, run: Callable[[Sequence[str]], list[str]]) -> None:
        """Start `run(argv)` on C and wait for its program. Raises RuntimeError."""
        self.process = lab.start(lab.client, run(HOLDER))
        self.holder = _wait_for_holder(self.process)

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv` inside the tunnel's network and mount namespaces."""
        return ["nsenter", "-t", str(self.holder), "-n", "-m", *argv]

    def pids(self) -> list[int]:
        """The tunnel's own processes: `tunflow run` and what it forked, without the program that waits."""
        return [pid for pid in descendants(self.process.pid) if pid != self.holder]

    def stop(self) -> int:
        """End it; its exit status."""
        return self.process.stop()


def _wait_for_holder(process: Process, timeout: float = 60.0) -> int:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        for pid in descendants(process.pid):
            if cmdline(pid) == HOLDER:
                return pid
        if process.popen.poll() is not None:
            break
        time.sleep(0.02)
    process.stop()
    raise RuntimeError(f"tunflow run did not start its command: {process.output()[-2000:].strip()}")
