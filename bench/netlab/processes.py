"""A process that the lab started, and what `/proc` says about it.

Rules: every process is the leader of its own session, so that stopping it takes its children along and
nobody else; it is signalled by id only. Read first: proc(5).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

TICKS = os.sysconf("SC_CLK_TCK")
LISTEN = "0A"
"""State TCP_LISTEN in /proc/net/tcp (include/net/tcp_states.h)."""


class Process:
    """A running program; its output goes to `log` unless the caller takes stdout."""

    def __init__(
        self,
        argv: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        stdout: int | IO[bytes] | None = None,
        stdin: int | None = subprocess.DEVNULL,
    ) -> None:
        self.argv = list(argv)
        self.log = log
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                self.argv,
                stdin=stdin,
                stdout=output if stdout is None else stdout,
                stderr=output,
                env=None if env is None else dict(env),
                start_new_session=True,
            )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id; also that of its session and group."""
        return self.popen.pid

    def output(self) -> str:
        """What it has written to its log so far."""
        return self.log.read_text(errors="replace")

    def wait_listening(self, port: int, timeout: float = 60.0) -> None:
        """Return once something listens on TCP `port` in its network namespace. Raises RuntimeError."""
        deadline = time.monotonic() + timeout
        while port not in listening_ports(self.pid):
            if self.popen.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.argv} does not listen on {port}: {self.output()[-2000:]}")
            time.sleep(0.02)

    def stop(self, timeout: float = 3.0) -> int:
        """Ask it to end, then insist; its exit status."""
        if self.popen.poll() is None:
            os.kill(self.pid, signal.SIGTERM)  # Popen.terminate reaps what has just ended, and the id with it
            deadline = time.monotonic() + timeout
            while not self._has_ended() and time.monotonic() < deadline:
                time.sleep(0.01)
            os.killpg(self.pid, signal.SIGKILL)  # not reaped yet: the id is still its own
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream is not None:
                stream.close()
        return self.popen.wait(timeout)

    def _has_ended(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None

    def kill(self) -> None:
        """`kill -9` of this one process; its children are left to themselves."""
        self.popen.kill()
        self.popen.wait()


def listening_ports(pid: int) -> set[int]:
    """TCP ports with a listener in the network namespace of `pid`."""
    ports = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTEN:
                    ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def cpu_seconds(pid: int) -> float:
    """User and system time that `pid` has used (all its threads)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def exact_cpu_seconds(pid: int) -> float:
    """The same by the scheduler's own count, which knows more than ticks of a hundredth."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def peak_rss_mib(pid: int) -> float:
    """The most memory that `pid` has held (VmHWM), in MiB."""
    return _status_kib(pid, "VmHWM") / 1024


def rss_mib(pid: int) -> float:
    """The memory that `pid` holds now (VmRSS), in MiB."""
    return _status_kib(pid, "VmRSS") / 1024


def _status_kib(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"process {pid} has no {key}: it has ended")


def open_fds(pid: int) -> int:
    """How many file descriptors `pid` holds."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def cmdline(pid: int) -> list[str]:
    """The arguments of `pid`; empty when it is gone or a zombie."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return raw.decode(errors="replace").rstrip("\0").split("\0") if raw else []


def descendants(pid: int) -> list[int]:
    """`pid` and every living process below it, parents first."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def processes_marked(name: str, value: str) -> list[int]:
    """Processes that were started with the environment variable `name` set to `value`, and live."""
    wanted = f"{name}={value}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found
