"""Two hosts in network namespaces joined by a veth: clients and tunnels run on C, servers on S.

    C  eth0 10.66.0.1/24 fd66::1/64  <---veth, TSO--->  eth0 10.66.0.2/24 fd66::2/64  S
                                                         lo  10.77.0.1/32 fd77::1/128

Proxy servers listen on 10.66.0.2; what a user visits (the site, DNS, ssh) is on 10.77.0.1, so that a packet
which leaves C for anything but the proxy server is a leak and can be seen as one: C has a default route, and
its resolv.conf names S. Rules: names are unique to this process, everything is removed also after a failure,
and what a lab of a dead process left behind is removed by the next one. Both namespaces use one congestion
control, cubic unless a bench asks for another, whatever the host prefers.
Read first: ip-netns(8), veth(4), network_namespaces(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from bench.netlab.processes import Process, processes_marked

CLIENT4, CLIENT6 = "10.66.0.1", "fd66::1"
SERVER4, SERVER6 = "10.66.0.2", "fd66::2"
SITE4, SITE6 = "10.77.0.1", "fd77::1"

MARK = "NETLAB"
"""Environment variable that names the lab a process belongs to; tunflow hands it to the programs that it starts."""
PREFIX = "tunflow-lab-"
ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
NETNS_ETC = Path("/etc/netns")
"""Its folders hold what `ip netns exec` lays over /etc."""
HOST_LOCK = Path("/run/tunflow-lab.lock")
"""Held by a lab while it changes what belongs to the whole host; several labs run at the same time."""
CLONE_NEWNET = 0x40000000
"""linux/sched.h"""

SYSCTLS = (
    "net.ipv4.ip_local_port_range=10000 65535",
    "net.ipv6.conf.all.accept_dad=0",
    "net.ipv6.conf.default.accept_dad=0",
    "net.ipv6.conf.all.accept_ra=0",
    "net.ipv6.conf.default.router_solicitations=0",
)

_libc = ctypes.CDLL(None, use_errno=True)
_labs = itertools.count(1)


class Namespace:
    """One host: a named network namespace, and how to run things in it."""

    def __init__(self, name: str, env: Mapping[str, str]) -> None:
        self.name = name
        self.env = dict(env)

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv` as it is run in here; the process id stays that of the program."""
        return ["ip", "netns", "exec", self.name, *argv]

    def run(
        self, argv: Sequence[str], *, timeout: float = 90.0, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end in here. Raises RuntimeError with its output when it fails and `check` is set."""
        done = subprocess.run(
            self.command(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=self.env,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"{list(argv)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Sockets that the calling thread opens inside belong to this host. Raises OSError."""
        with Path("/proc/thread-self/ns/net").open() as home, Path(f"/run/netns/{self.name}").open() as here:
            _setns(here.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    @contextlib.contextmanager
    def addressed(self, *addresses: str, device: str = "lo") -> Iterator[None]:
        """This host has these addresses too, each with its prefix, while the block runs. Raises RuntimeError."""
        for address in addresses:
            ip("-n", self.name, "addr", "add", address, "dev", device, *nodad(address))
        try:
            yield
        finally:
            for address in addresses:
                ip("-n", self.name, "addr", "del", address, "dev", device)


ENDING = [word for state in ("fin-wait-1", "fin-wait-2", "closing", "last-ack") for word in ("state", state)]
"""Connections whose programs have closed them, for `ss`."""


class Lab:
    """The two hosts, their link and the processes on them, as a context manager."""

    def __init__(self, congestion: str = "cubic") -> None:
        self.congestion = congestion
        self.id = f"{PREFIX}{os.getpid()}-{next(_labs)}"
        env = {**os.environ, MARK: self.id}
        self.client = Namespace(f"{self.id}-c", env)
        self.server = Namespace(f"{self.id}-s", env)
        self.hosts = [self.client, self.server]
        self.directory = Path()
        self._logs = itertools.count(1)
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Lab:
        remove_stale_labs()
        with self._cleanup as cleanup:
            self.directory = Path(tempfile.mkdtemp(prefix=self.id + "-"))
            cleanup.callback(shutil.rmtree, self.directory, ignore_errors=True)
            self.directory.chmod(0o755)  # an ordinary user's command writes and reads below it
            for namespace in self.hosts:
                cleanup.callback(remove_namespace, namespace.name)
                _add_namespace(namespace, self.congestion)
            cleanup.callback(kill_marked, self.id)
            self.join()
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._cleanup.close()

    def start(
        self,
        where: Namespace,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdout: int | IO[bytes] | None = None,
        stdin: int | None = subprocess.DEVNULL,
    ) -> Process:
        """Start a program on a host; the lab's end stops it, and `directory` has its output."""
        log = self.directory / f"{next(self._logs):03}-{Path(argv[0]).name}.log"
        process = Process(where.command(argv), log, env={**where.env, **(env or {})}, stdout=stdout, stdin=stdin)
        self._cleanup.callback(process.stop)
        return process

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """What is started while the block runs ends with it, and what the kernel still has to say for its connections:
        it would be sent for minutes, and seen by the witnesses of others."""
        kept = self._cleanup
        try:
            with contextlib.ExitStack() as self._cleanup:
                yield
        finally:
            self._cleanup = kept
            for host in self.hosts:
                host.run(["ss", "-K", "-t", *ENDING])

    def running(self, words: str) -> list[str]:
        """The command lines with those words of what this lab, and no other beside it, has started and still runs."""
        found = []
        for pid in processes_marked(MARK, self.id):
            with contextlib.suppress(OSError):
                found.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        return sorted(line for line in found if words in line)

    def join(self) -> None:
        """Connect the hosts; a lab of another shape does this its own way."""
        c, s = self.client, self.server
        ip("link", "add", "eth0", "netns", c.name, "type", "veth", "peer", "name", "eth0", "netns", s.name)
        for host, addresses in (
            (c, ((CLIENT4 + "/24", "eth0"), (CLIENT6 + "/64", "eth0"))),
            (s, ((SERVER4 + "/24", "eth0"), (SERVER6 + "/64", "eth0"), (SITE4, "lo"), (SITE6, "lo"))),
        ):
            for address, device in addresses:
                ip("-n", host.name, "addr", "add", address, "dev", device, *nodad(address))
            for device in ("lo", "eth0"):
                ip("-n", host.name, "link", "set", device, "up")
        ip("-n", c.name, "route", "add", "default", "via", SERVER4)
        ip("-n", c.name, "-6", "route", "add", "default", "via", SERVER6)


def nodad(address: str) -> tuple[str, ...]:
    """What `ip addr add` needs to make an IPv6 address usable at once."""
    return ("nodad",) if ":" in address else ()


def ip(*arguments: str) -> None:
    """Run `ip`. Raises RuntimeError."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def ip_lines(name: str, lines: Sequence[str]) -> None:
    """Run `ip` once in a namespace for all of `lines`. Raises RuntimeError at the first that fails."""
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(["ip", "-n", name, "-batch", "-"], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip -n {name} {' / '.join(lines)}: {done.stderr.strip()}")


def _add_namespace(namespace: Namespace, congestion: str) -> None:
    ip("netns", "add", namespace.name)
    etc = NETNS_ETC / namespace.name
    with HOST_LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the last namespace of another lab takes the folder away
        etc.mkdir(parents=True)
    (etc / "resolv.conf").write_text(f"nameserver {SERVER4}\n")
    namespace.run(["sysctl", "-q", "-w", *SYSCTLS])
    use_congestion(namespace.command, congestion)


def use_congestion(command: Callable[[Sequence[str]], list[str]], name: str) -> None:
    """Make a congestion control the default of the namespace that `command` runs things in. Raises RuntimeError.

    Linux lets a namespace choose only what the host allows (net/ipv4/tcp_cong.c,
    tcp_set_default_congestion_control), so the host's list is longer for as long as it takes.
    """
    argv = command(["sysctl", "-q", "-w", f"net.ipv4.tcp_congestion_control={name}"])
    with HOST_LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # labs of other processes lengthen the list and put it back as well
        before = ALLOWED.read_text()
        try:
            if name not in before.split():
                ALLOWED.write_text(f"{before.strip()} {name}")
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
        finally:
            if name not in before.split():
                ALLOWED.write_text(before)
    if done.returncode:
        raise RuntimeError(f"no {name}: {done.stderr.strip()}")


def remove_namespace(name: str) -> None:
    """Remove a lab's namespace and end what still runs in it."""
    inside = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
    for pid in map(int, inside.stdout.split()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    shutil.rmtree(NETNS_ETC / name, ignore_errors=True)
    with contextlib.suppress(OSError), HOST_LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        NETNS_ETC.rmdir()


def kill_marked(lab_id: str) -> None:
    """End what a lab started and has not stopped, in namespaces that a tunnel made for itself too."""
    for pid in processes_marked(MARK, lab_id):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def remove_stale_labs() -> None:
    """Remove what labs of processes that are gone left behind."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout
    for name in (line.split()[0] for line in listed.splitlines() if line.startswith(PREFIX)):
        pid = name.removeprefix(PREFIX).partition("-")[0]
        if not Path(f"/proc/{pid}").exists():
            lab_id = name.rpartition("-")[0]
            kill_marked(lab_id)
            remove_namespace(name)
            for directory in Path(tempfile.gettempdir()).glob(f"{lab_id}-*"):
                shutil.rmtree(directory, ignore_errors=True)


def _setns(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
