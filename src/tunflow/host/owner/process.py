"""Whose a flow is: from its addresses to the socket, and from the socket to the process.

The kernel answers the first exactly (`socket_diag`). For the second there may be a table of who made which socket
(`socket_owners`, for root). Else only /proc knows, by listing what every process has open, which takes milliseconds; so
where a socket probably is gets asked first, the likeliest place first:

1. where that very socket was found before;
2. in processes that started since the last question (a `curl`, a `git`), newest first: the kernel tells the last pid;
3. in the descriptor where a process that lately had a new socket would have the next one;
4. in all descriptors of processes that started lately, and of some that lately had a new socket;
5. anywhere. How long that may take altogether is bounded (`SCAN_CREDIT`, `SCAN_SHARE`).

What /proc answers is proved by a link that names the socket at that moment, so that a reused pid or descriptor makes
no wrong answer. What cannot be proved is unknown: the pid is None, the user still known if there is a socket, and
nothing is known when the socket is gone or is not this host's.

A socket that several processes hold (after a fork) is that of the one found first.
"""

# ruff: noqa: PTH115, PTH116, PTH208  # on the way of every new flow a `Path` costs as much as the call

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice

from tunflow.endpoint import Endpoint
from tunflow.flow import ProcessInfo
from tunflow.host.netlink.socket_diag import SocketDiag
from tunflow.host.owner.socket_owners import SocketOwners

RECENT = 64
"""Processes that lately had a new socket: each is asked for one descriptor."""
LISTED = 4
"""How many of them are asked for all their descriptors."""
YOUNG = 32
"""Processes that started lately."""
REMEMBERED = 8192
"""Sockets whose holder is remembered."""
SCAN_CREDIT = 1.0
"""Seconds that looking at all processes may take at first: then it is known who uses the network."""
SCAN_SHARE = 0.1
"""The share of the time that it may take later."""
CGROUP_AGE = 1.0
"""Seconds that a process's control group is believed to be the same."""

_PREFIX, _SUFFIX = "socket:[", "]"


class ProcessTable:
    """Finds the process of flows that come from sockets in one network namespace."""

    def __init__(
        self,
        diag: SocketDiag,
        owners: SocketOwners | None = None,
        *,
        proc: str = "/proc",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`owners` is asked first, for processes of this host. Raises OSError where there is no /proc."""
        self._diag = diag
        self._owners = owners
        self._proc = proc
        self._clock = clock
        self._loads = os.open(f"{proc}/loadavg", os.O_RDONLY | os.O_CLOEXEC)
        self._last_pid = self._newest_pid()
        self._young: list[int] = []
        """Newest last; may be threads, and may be gone."""
        self._recent: OrderedDict[int, _Holder] = OrderedDict()
        """Most lately found last."""
        self._sockets: dict[str, tuple[int, str]] = {}
        """The pid and descriptor where a socket was found."""
        self._credit = SCAN_CREDIT
        self._credit_at = clock()
        self.scans = 0
        """How often all processes were looked at."""

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._loads)
        self._diag.close()
        if self._owners is not None:
            self._owners.close()

    def find(self, protocol: str, client: Endpoint, target: Endpoint) -> ProcessInfo | None:
        """The process behind a flow (`flow.ProcessFinder`); with only its user where the process cannot be told."""
        socket = self._diag.find(protocol, client, target)
        if socket is None:
            return None
        if self._owners is not None and (owner := self._owners.find(socket.cookie)) is not None:
            described = self._describe(owner, socket.uid)
            if described.executable is not None:
                return described  # else it made the socket for another, and has ended
        pid = self._holder(f"{_PREFIX}{socket.inode}{_SUFFIX}", socket.uid)
        return ProcessInfo(uid=socket.uid) if pid is None else self._describe(pid, socket.uid)

    def _describe(self, pid: int, uid: int) -> ProcessInfo:
        executable = cgroup = None
        try:
            executable = os.readlink(f"{self._proc}/{pid}/exe").removesuffix(" (deleted)")
            cgroup = self._cgroup(self._recent.get(pid) or self._remember(pid), executable)
        except OSError:
            pass  # another user's, and we are not root; or it has just ended
        return ProcessInfo(pid, executable, executable and executable.rpartition("/")[2], uid, cgroup)

    def _cgroup(self, holder: _Holder, executable: str) -> str | None:
        """The version 2 control group. Raises OSError."""
        now = self._clock()
        if holder.executable != executable or now - holder.cgroup_at > CGROUP_AGE:
            lines = _read(f"{self._proc}/{holder.pid}/cgroup").splitlines()
            holder.cgroup = next((line[3:] for line in lines if line.startswith("0::")), None)
            holder.executable, holder.cgroup_at = executable, now
        return holder.cgroup

    # From a socket to a pid.

    def _holder(self, link: str, uid: int) -> int | None:
        known = self._sockets.get(link)
        if known is not None and self._is_at(link, *known):
            return self._found(link, *known)
        born = self._note_births()
        found = self._look(link, reversed(self._young[len(self._young) - born :]))
        if found is None:
            found = self._guess(link)
        if found is None:
            owners = {uid, 0}  # proc(5): a process that changed its user belongs to root here
            before = self._young[: len(self._young) - born]
            found = self._look(link, (pid for pid in reversed(before) if self._owner(pid) in owners))
        if found is None:
            found = self._look(link, list(islice(reversed(self._recent), LISTED)))
        return found if found is not None else self._scan(link)

    def _is_at(self, link: str, pid: int, descriptor: str) -> bool:
        try:
            return os.readlink(f"{self._proc}/{pid}/fd/{descriptor}") == link
        except OSError:
            return False

    def _guess(self, link: str) -> int | None:
        """Ask processes for the descriptor behind the last socket's, those first that had one lately."""
        for pid, holder in reversed(self._recent.items()):
            if self._is_at(link, pid, str(holder.latest + 1)):
                return self._found(link, pid, str(holder.latest + 1))
        return None

    def _look(self, link: str, pids: Iterable[int]) -> int | None:
        """Ask processes for all their descriptors: those first that were not there the last time."""
        for pid in pids:
            holder = self._recent.get(pid)
            directory = f"{self._proc}/{pid}/fd/"
            try:
                descriptors = set(os.listdir(directory))
            except OSError:
                self._recent.pop(pid, None)
                continue
            seen = holder.descriptors if holder is not None else frozenset()
            for descriptor in (*(descriptors - seen), *(descriptors & seen)):
                try:
                    if os.readlink(directory + descriptor) == link:
                        return self._found(link, self._process_of(pid), descriptor, descriptors)
                except OSError:
                    continue
            if holder is not None:
                holder.descriptors = descriptors
        return None

    def _scan(self, link: str) -> int | None:
        """Look at all processes until the socket is found, and remember those that are seen on the way."""
        started = self._clock()
        self._credit = min(SCAN_CREDIT, self._credit + SCAN_SHARE * (started - self._credit_at))
        self._credit_at = started
        if self._credit < 0:
            return None
        self.scans += 1
        self._sockets.clear()
        pids = sorted((int(name) for name in os.listdir(self._proc) if name.isdigit()), reverse=True)
        for pid in pids:
            self._remember_sockets(pid)
            if link in self._sockets:
                break
        self._credit -= self._clock() - started
        known = self._sockets.get(link)
        return None if known is None else self._found(link, *known)

    def _remember_sockets(self, pid: int) -> None:
        directory = f"{self._proc}/{pid}/fd/"
        try:
            descriptors = os.listdir(directory)
        except OSError:
            return  # it ended, or is another user's
        for descriptor in descriptors:
            with suppress(OSError):
                held = os.readlink(directory + descriptor)
                if held.startswith(_PREFIX):
                    self._sockets.setdefault(held, (pid, descriptor))

    def _found(self, link: str, pid: int, descriptor: str, descriptors: set[str] | None = None) -> int:
        holder = self._recent.get(pid) or self._remember(pid)
        holder.latest = int(descriptor)
        if descriptors is not None:
            holder.descriptors = descriptors
        self._recent.move_to_end(pid)
        if len(self._sockets) >= REMEMBERED:
            self._sockets.clear()
        self._sockets[link] = (pid, descriptor)
        return pid

    def _remember(self, pid: int) -> _Holder:
        holder = self._recent[pid] = _Holder(pid)
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        return holder

    # Processes that start.

    def _newest_pid(self) -> int:
        """The pid or thread id that was given last, which is the last word of /proc/loadavg."""
        return int(os.pread(self._loads, 128, 0).split()[-1])

    def _note_births(self) -> int:
        """How many there are since the last time, all of them at the end of `_young`."""
        newest = self._newest_pid()
        born = range(max(self._last_pid + 1, newest - YOUNG + 1), newest + 1)  # none when the numbers start anew
        if born:
            self._young = [*self._young, *born][-YOUNG:]
        self._last_pid = newest
        return len(born)

    def _owner(self, pid: int) -> int:
        try:
            return os.stat(f"{self._proc}/{pid}").st_uid
        except OSError:
            return -1

    def _process_of(self, pid: int) -> int:
        """The process that a thread belongs to: a young one may be either."""
        if pid in self._recent:
            return pid
        try:
            status = _read(f"{self._proc}/{pid}/status")
        except OSError:
            return pid
        return int(status.partition("\nTgid:")[2].split(None, 1)[0])


class _Holder:
    """A process that had a new socket."""

    __slots__ = ("cgroup", "cgroup_at", "descriptors", "executable", "latest", "pid")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.latest = -1
        """The descriptor of the last socket that was found."""
        self.descriptors: set[str] | frozenset[str] = frozenset()
        """What it had open when all of it was looked at."""
        self.executable: str | None = None
        """The program that it was when `cgroup` was read."""
        self.cgroup: str | None = None
        self.cgroup_at = 0.0


def _read(path: str) -> str:
    """A small file of /proc; open and read cost less than an `io` object. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 8192).decode(errors="replace")
    finally:
        os.close(descriptor)
