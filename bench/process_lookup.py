"""`python -m bench.process_lookup`: what it costs to find a flow's process on a machine with many.

Idle processes are started, and some that open a connection to this one each time they are told. Every new connection is
looked up once, as the first packet of a flow is; `new` are programs that start, connect once and end.
"""

from __future__ import annotations

import argparse
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import quantiles
from typing import NamedTuple

from tunflow.endpoint import endpoint
from tunflow.host.netlink.socket_diag import SocketDiag
from tunflow.host.owner.process import ProcessTable
from tunflow.host.owner.socket_owners import open_owners

CONNECT = "exec {name}<>/dev/tcp/127.0.0.1/{port}; echo"
"""bash holds the connection that this opens until it ends."""


class Found(NamedTuple):
    """The lookups of one kind of program."""

    seconds: list[float]
    wrong: int
    unknown: int

    def line(self, kind: str) -> str:
        """For people."""
        cuts = quantiles(self.seconds, n=100)
        return (
            f"{kind:8} {len(self.seconds):5} lookups: median {cuts[49] * 1e6:6.1f} us, 99 % {cuts[98] * 1e6:7.1f} us, "
            f"{self.wrong} wrong, {self.unknown} unknown"
        )


def measure(idle: int, busy: int, rounds: int, *, owners: bool) -> tuple[dict[str, Found], int]:
    """The lookups by kind of program, and how often all processes were looked at."""
    found = {kind: Found([], 0, 0) for kind in ("running", "new")}
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        port = listener.getsockname()[1]
        for _ in range(idle):
            stack.enter_context(_started(["sleep", "600"]))
        programs = [stack.enter_context(_started(["bash"])) for _ in range(busy)]
        table = ProcessTable(SocketDiag(), open_owners() if owners else None)
        stack.callback(table.close)
        choose = random.Random(1)
        for number in range(rounds):
            program = choose.choice(programs)
            _tell(program, CONNECT.format(name="{fd}", port=port))
            found["running"] = _look_up(table, listener, program.pid, found["running"])
            if number % 10 == 0:
                with _started(["bash"]) as new:
                    _tell(new, CONNECT.format(name="{fd}", port=port))
                    found["new"] = _look_up(table, listener, new.pid, found["new"])
        return found, table.scans


def _look_up(table: ProcessTable, listener: socket.socket, pid: int, so_far: Found) -> Found:
    connection, client = listener.accept()
    with connection:
        before = time.perf_counter()
        process = table.find("tcp", endpoint(*client), endpoint(*listener.getsockname()))
        so_far.seconds.append(time.perf_counter() - before)
    got = process and process.pid
    return so_far._replace(
        wrong=so_far.wrong + (got is not None and got != pid), unknown=so_far.unknown + (got is None)
    )


@contextmanager
def _started(argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def _tell(shell: subprocess.Popen[bytes], line: str) -> None:
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write(line.encode() + b"\n")
    shell.stdin.flush()
    shell.stdout.readline()


def main() -> None:
    """Print a line for each kind of program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=500, help="idle ones")
    parser.add_argument("--programs", type=int, default=20, help="that open connections")
    parser.add_argument("--connections", type=int, default=1000)
    options = parser.parse_args()
    for owners in (True, False):
        sys.stdout.write("with the kernel's table of who made which socket\n" if owners else "with /proc only\n")
        found, scans = measure(options.processes, options.programs, options.connections, owners=owners)
        for kind, lookups in found.items():
            sys.stdout.write("  " + lookups.line(kind) + "\n")
        sys.stdout.write(f"  all processes looked at {scans} times\n")


if __name__ == "__main__":
    main()
