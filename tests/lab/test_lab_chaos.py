"""Everything that can go wrong around `up` goes wrong, one after the other: nothing leaks, what can go on goes on.

The short form has each trouble once, in a fixed order; `TUNFLOW_LAB_CHAOS=3600` goes on with them for as many seconds,
drawn at random from a seed that is printed. After each trouble the tunnel carries again: by itself where its process
lives or is started again, by another `up` where it ended. It has a kill switch, so that the witnesses see nothing at
any time; afterwards `down` leaves the host as it was found.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from bench.netlab.namespaces import SERVER4, SITE4
from lab_spy import TO_SHADOWSOCKS
from lab_support import ECHO, NOISE, client
from lab_system import DNS, System, is_running
from lab_uplinks import UplinkLab, until
from test_lab_up_leaks import MIX, mix_running

pytestmark = pytest.mark.lab

SECONDS = float(os.environ.get("TUNFLOW_LAB_CHAOS", "0"))
ROUTES = 3000
"""Changes of routes at once: more than the monitor's socket holds."""

STANDS = 1.0
"""Seconds that a process stands still."""

ALLOWED = f"({TO_SHADOWSOCKS} or ((tcp or udp) and dst host {SERVER4} and dst port {NOISE}))"


class Troubles:
    """One host's. Each method is one trouble; those of `LASTING` must not end a flow that is open."""

    LASTING = (
        "route_flood",
        "tunnel_stands_still",
        "supervisor_stands_still",
        "lying_resolver",
        "garbage",
        "few_files",
        "full_disk",
    )
    ENDING = ("little_memory", "device_down", "device_deleted", "killed", "supervisor_killed")

    def __init__(self, system: System) -> None:
        self.system = system

    @property
    def pid(self) -> int:
        """The tunnel's, once it is there: the trouble before may have ended it, and it is started again."""
        deadline = time.monotonic() + 60
        while (pid := self.system.status()["pid"]) is None:
            assert time.monotonic() < deadline, self.system.status()
            time.sleep(0.1)
        return int(pid)

    def route_flood(self) -> None:
        """More changes of the network at once than netlink holds for us, who are not listening."""
        system = self.system
        lines = [f"route add 203.0.{n // 250}.{n % 250 + 1}/32 dev lan0 table 7000\n" for n in range(ROUTES)]
        batch = system.directory / "routes"
        batch.write_text("".join(lines))
        with stopped(self.pid):
            assert system.run(["ip", "-batch", str(batch)]).returncode == 0
        assert system.run(["ip", "route", "flush", "table", "7000"]).returncode == 0

    def tunnel_stands_still(self) -> None:
        """SIGSTOP: what is sent meanwhile waits."""
        with stopped(self.pid):
            time.sleep(STANDS)

    def supervisor_stands_still(self) -> None:
        """The same for the process that changes the host's settings."""
        with stopped(parent(self.pid)):
            time.sleep(STANDS)

    def lying_resolver(self) -> None:
        """A resolver whose every byte is noise."""
        self.system.ok("reload", "--kill-switch", "--dns", f"tcp://{SITE4}:{NOISE}")
        assert "status: NOERROR" not in self.system.run(["dig", "+tries=1", "+timeout=1", "liar.lab"]).stdout
        self.system.ok("reload", "--kill-switch", "--dns", DNS)

    def garbage(self) -> None:
        """A server whose every byte is noise."""
        self.system.ok("reload", "--kill-switch", "--dns", DNS, "--server", f"ss://aes-256-gcm:x@{SERVER4}:{NOISE}")
        for _ in range(5):
            assert self.system.fetch(f"http://{SITE4}/1k", timeout=0.5) == 0
        self.system.ok("reload", "--kill-switch", "--dns", DNS)

    def few_files(self) -> None:
        """EMFILE for whatever is opened."""
        pid = self.pid
        with limited(pid, "nofile", len(list(Path(f"/proc/{pid}/fd").iterdir()))):
            self.system.fetch(f"http://{SITE4}/1k", timeout=0.5)
            self.system.run(MIX["dns"])

    def full_disk(self) -> None:
        """Neither log nor state can be written."""
        hog = self.system.directory / "run" / "hog"
        with suppress(OSError), hog.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        try:
            assert self.system.fetch(f"http://{SITE4}/1k", timeout=30) == 1024
            self.system.tunflow("reload", "--kill-switch", "--dns", DNS)
            assert self.system.status()["status"] == "connected"
        finally:
            hog.unlink()

    def little_memory(self) -> None:
        """ENOMEM, and MemoryError wherever it happens to come."""
        pid = self.pid
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
        with limited(pid, "as", pages * 4096):
            self.system.fetch(f"http://{SITE4}/big", timeout=1)

    def device_down(self) -> None:
        """Somebody takes the tunnel's device down."""
        self.system.run(["ip", "link", "set", "tunflow0", "down"])
        time.sleep(0.5)

    def device_deleted(self) -> None:
        """Somebody deletes it."""
        self.system.run(["ip", "link", "del", "tunflow0"])

    def killed(self) -> None:
        """kill -9."""
        os.kill(self.pid, signal.SIGKILL)

    def supervisor_killed(self) -> None:
        """kill -9 of the process that would start another, which takes the tunnel's with it."""
        pid = self.pid
        os.kill(parent(pid), signal.SIGKILL)
        until(lambda: not is_running(pid), 60, "the tunnel's process ends with its supervisor")  # carries until then

    # What is seen.

    def carries(self, patience: float = 5.0) -> bool:
        return self.system.fetch(f"http://{SITE4}/1k", timeout=patience) == 1024

    def have_it_carry(self) -> None:
        """By itself, or by another `up`; it may stand, and carry nothing any more, where its device is gone."""
        end = time.monotonic() + 3
        while time.monotonic() < end:
            if self.carries(1.0):
                return
        self.system.up("--kill-switch", "--replace")
        until(self.carries, 60, "the tunnel carries again")


def parent(pid: int) -> int:
    """The process that began `pid`."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("PPid:")[2].split()[0])


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def limited(pid: int, what: str, limit: int) -> Iterator[None]:
    """A soft limit of a process (`nofile`, `as`), which is taken back if it still lives."""
    soft = "unlimited" if what == "as" else str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    set_limit(pid, what, str(limit))
    try:
        yield
    finally:
        if Path(f"/proc/{pid}").exists():
            set_limit(pid, what, soft)


def set_limit(pid: int, what: str, limit: str) -> None:
    """As the user that the process is, which takes no capability."""
    user, group = (Path(f"/proc/{pid}/status").read_text().partition(word)[2].split()[0] for word in ("Uid:", "Gid:"))
    become = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
    subprocess.run([*become, "prlimit", "--pid", str(pid), f"--{what}={limit}:"], check=True)


@contextmanager
def small_disk(system: System) -> Iterator[None]:
    """A file system of its own under the tunnel's state and log."""
    path = system.directory / "run"
    path.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "none", str(path)], check=True)
    try:
        yield
    finally:
        system.tunflow("down")  # while what it recorded is there
        subprocess.run(["umount", "-l", str(path)], check=True)


@contextmanager
def long_flow(system: System) -> Iterator[Callable[[], bool]]:
    """A connection to the echo service; what is given says whether it still carries."""
    argv = system.host.command(client("held_flow", SITE4, ECHO))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=system.host.env) as held:
        assert held.stdin is not None
        assert held.stdout is not None
        assert held.stdout.readline() == "open\n"

        def goes_on() -> bool:
            assert held.stdin is not None
            assert held.stdout is not None
            try:
                held.stdin.write("on\n")
                held.stdin.flush()
            except BrokenPipeError:  # it has said why, and ended
                return False
            return held.stdout.readline() == "alive\n"

        try:
            yield goes_on
        finally:
            held.kill()
            with suppress(BrokenPipeError):  # what it did not hear any more
                held.stdin.close()


def drawn() -> Iterator[str]:
    """Each trouble once, those that end flows last; then at random, as long as there is time."""
    end = time.monotonic() + SECONDS
    yield from (*Troubles.LASTING, *Troubles.ENDING)
    seed = time.time_ns()
    print(f"seed {seed}", file=sys.stderr)
    dice = random.Random(seed)
    while time.monotonic() < end:
        yield dice.choice((*Troubles.LASTING, *Troubles.ENDING))


def test_troubles_let_nothing_out_and_leave_nothing_behind(uplinks: UplinkLab, system: System) -> None:
    before = system.snapshot()
    troubles = Troubles(system)
    wrong: list[str] = []
    with small_disk(system), uplinks.spied(ALLOWED) as leaks:
        system.up("--kill-switch")
        with mix_running(system, MIX):
            for name in drawn():
                print(f"{time.monotonic():.1f} {name}", file=sys.stderr)
                with long_flow(system) as goes_on:
                    assert goes_on()
                    try:
                        getattr(troubles, name)()
                        assert name not in Troubles.LASTING or goes_on(), "the open flow ended"
                    except AssertionError as error:
                        wrong.append(f"{name}: {error}")
                troubles.have_it_carry()
        system.ok("down")
        after = system.snapshot()
    assert leaks == []
    assert wrong == []
    assert after == before
