"""How the lab's tests use a tunnel: `tunflow run` on C, and what they read from the environment.

Variables: `TUNFLOW_LAB_BYTES`, size of the big download (default 200,000,000; 1000000000 is the full test), and
`TUNFLOW_LAB_IDLE`, seconds that idle flows wait (default 20; 600 is the full test).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.netlab.namespaces import SITE4, Lab
from bench.netlab.peers import SCRIPTS, SERVICES_PORT
from bench.netlab.processes import Process
from bench.netlab.tunnel import HeldTunnel, run_command, shadowsocks_url

BIG_BYTES = int(os.environ.get("TUNFLOW_LAB_BYTES", "200000000"))
IDLE_SECONDS = float(os.environ.get("TUNFLOW_LAB_IDLE", "20"))

DNS = f"tcp://{SITE4}:53"
"""The resolver that only the far side of a tunnel reaches without being seen."""
FAR = "203.0.113.7"
"""An address that nobody has (RFC 5737), and that is no private one to Tor."""
CLIENTS = Path(__file__).parent / "clients"

(ECHO, DIGEST, LONG_POLL, NOISE, HALF_ANSWER, NEVER_READS, RESETS, FIRE_HOSE, SPEAKS_FIRST, COUNTED_DIGEST) = range(
    SERVICES_PORT, SERVICES_PORT + 10
)
"""Ports of bench/netlab/scripts/services.py."""


@dataclass(frozen=True)
class Contents:
    """What the site serves."""

    big_sha256: str
    medium_sha256: str
    million_sha256: str
    """Of 1m."""
    commit: str
    wheel: str


class Tunnel:
    """`tunflow run` on C; by default through S's ss-server, names resolved by the far side."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def command(
        self,
        argv: Sequence[str],
        *,
        server: str | None = None,
        dns: str = DNS,
        options: Sequence[str] = (),
        prefix: Sequence[str] = (),
    ) -> list[str]:
        """The whole command, to be run on C; `prefix` stands in front of tunflow."""
        return [*prefix, *run_command(argv, server=server or shadowsocks_url(), dns=dns, options=options)]

    def run(
        self,
        argv: Sequence[str],
        *,
        server: str | None = None,
        dns: str = DNS,
        options: Sequence[str] = (),
        prefix: Sequence[str] = (),
        env: dict[str, str] | None = None,
        stdin: bytes | None = None,
        timeout: float = 60.0,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `argv` in a tunnel of its own, to the end. A timeout kills the tunnel and what is in it."""
        command = self.command(argv, server=server, dns=dns, options=options, prefix=prefix)
        with subprocess.Popen(
            self.lab.client.command(command),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**self.lab.client.env, **(env or {})},
            start_new_session=True,
        ) as process:
            try:
                out, err = process.communicate(stdin, timeout=timeout)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def ok(self, argv: Sequence[str], **options: object) -> str:
        """Run `argv` in a tunnel, expect success, give its output."""
        done = self.run(argv, **options)  # type: ignore[arg-type]
        assert done.returncode == 0, (argv, done.returncode, done.stdout[-1000:], done.stderr[-2000:])
        return done.stdout.decode(errors="replace")

    def start(self, argv: Sequence[str], **options: object) -> Process:
        """Start `argv` in a tunnel and leave it running; the lab ends it if the test does not."""
        command = self.command(argv, **options)  # type: ignore[arg-type]
        return self.lab.start(self.lab.client, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    @contextmanager
    def held(self, **options: object) -> Iterator[Held]:
        """A tunnel that stays up while programs are run in it."""
        held = Held(self.lab, lambda argv: self.command(argv, **options))  # type: ignore[arg-type]
        try:
            yield held
        finally:
            held.stop()


class Held(HeldTunnel):
    """A tunnel that is up, and programs run in it."""

    def __init__(self, lab: Lab, run: object) -> None:
        super().__init__(lab, run)  # type: ignore[arg-type]
        self.lab = lab

    def run(self, argv: Sequence[str], timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run `argv` in the tunnel to the end."""
        return subprocess.run(
            self.command(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=self.lab.client.env,
            check=False,
        )

    def open(self, argv: Sequence[str]) -> subprocess.Popen[str]:
        """Start `argv` in the tunnel with its stdin and stdout as pipes."""
        return subprocess.Popen(
            self.command(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.lab.client.env,
            start_new_session=True,
        )


def client(name: str, *arguments: object) -> list[str]:
    """The command of a script in `clients/`."""
    return [sys.executable, str(CLIENTS / f"{name}.py"), *map(str, arguments)]


def hold_command(count: int) -> list[str]:
    """The command that opens as many connections to the echo service and holds them until its stdin ends."""
    return [sys.executable, str(SCRIPTS / "hold.py"), SITE4, str(ECHO), str(count)]


def log_lines(text: str | bytes) -> list[str]:
    """The lines of an output that hold anything."""
    decoded = text.decode(errors="replace") if isinstance(text, bytes) else text
    return [line for line in decoded.splitlines() if line.strip()]
