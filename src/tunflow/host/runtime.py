"""Where a running tunnel keeps what others find it by: control socket, log, lock and state file.

One directory, 0700, that does not survive a reboot, as none of it should: `/run/tunflow` for root (and for the service,
whose user owns it), `$XDG_RUNTIME_DIR/tunflow` for anybody else, or what `TUNFLOW_RUNTIME_DIR` names, which tests and
several tunnels side by side use. Read first: file-hierarchy(7), flock(2).
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tunflow.errors import LocalError

VARIABLE = "TUNFLOW_RUNTIME_DIR"
SYSTEM = Path("/run/tunflow")


@dataclass(frozen=True, slots=True)
class RuntimeDirectory:
    """The directory and the files in it."""

    path: Path

    @classmethod
    def own(cls) -> RuntimeDirectory:
        """The directory of a tunnel that this process starts."""
        named = os.environ.get(VARIABLE)
        if named:
            return cls(Path(named))
        user = os.environ.get("XDG_RUNTIME_DIR")
        if os.geteuid() == 0 or not user:
            return cls(SYSTEM)
        return cls(Path(user) / "tunflow")

    @classmethod
    def running(cls) -> RuntimeDirectory:
        """The directory of the tunnel that a command means: this user's where there is one, else the system's."""
        own = cls.own()
        if os.environ.get(VARIABLE):
            return own
        try:
            found = own.control.exists()
        except PermissionError:  # another user's directory: the one who asks its socket is told so
            found = False
        return own if found else cls(SYSTEM)

    @property
    def control(self) -> Path:
        """The control socket."""
        return self.path / "control"

    @property
    def log(self) -> Path:
        """What the tunnel said."""
        return self.path / "log"

    @property
    def lock(self) -> Path:
        """Held by the process that serves the tunnel."""
        return self.path / "lock"

    @property
    def supervision(self) -> Path:
        """How the tunnel stands while no process serves it, or why none does any more."""
        return self.path / "supervision.json"

    @property
    def restarts(self) -> Path:
        """How often it was started again, for the next supervisor."""
        return self.path / "restarts.json"

    @property
    def state(self) -> Path:
        """What was changed on the host, so that it can be taken back whatever happens."""
        return self.path / "host.json"

    def make(self) -> None:
        """Make the directory where it is missing. Raises LocalError when it is not this user's alone."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.path.lstat()
        except OSError as error:
            raise LocalError(f"{self.path} cannot be made: {error.strerror}: run as root, or set {VARIABLE}") from None
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise LocalError(f"{self.path} must be a directory of this user that nobody else may write to")


class InstanceLock:
    """The lock that one process holds while it serves a tunnel; the kernel frees it however that process ends."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def take(self) -> bool:
        """Return True if it was free, and now is ours; our process id is then in the file."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._sign()
        return True

    def wait(self) -> None:
        """Take it once its holder is gone altogether, with everything that is known by its process id."""
        holder = self.holder
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        if holder is not None:
            wait_ended(holder)
        self._sign()

    @property
    def is_held_by_a_living_process(self) -> bool:
        """True if the last holder is still there; it may have been killed, and a process of its may hold on a while."""
        if self.holder is None:
            return False
        try:
            os.kill(self.holder, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return not Path(f"/proc/{self.holder}/stat").read_text(errors="replace").rpartition(")")[2].startswith(" Z")

    def end_holder(self, patience: float) -> None:
        """Ask the holder to end, and kill it when it has not after `patience` seconds. Raises PermissionError."""
        holder = self.holder
        if holder is not None and self.is_held_by_a_living_process:
            with suppress(ProcessLookupError):
                os.kill(holder, signal.SIGTERM)
            wait_ended(holder, patience)
            self.kill_holder()

    def kill_holder(self) -> None:
        """Kill the holder. Raises PermissionError."""
        if self.holder is not None and self.is_held_by_a_living_process:
            with suppress(ProcessLookupError):
                os.kill(self.holder, signal.SIGKILL)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)

    def _sign(self) -> None:
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    @property
    def holder(self) -> int | None:
        """The process id that the last holder wrote."""
        text = os.pread(self._fd, 32, 0).strip()
        return int(text) if text.isdigit() else None


def wait_ended(pid: int, longest: float | None = None) -> None:
    """Return once process `pid` has ended, or after `longest` seconds."""
    with suppress(ProcessLookupError):
        ended = os.pidfd_open(pid)
        select.select([ended], [], [], longest)
        os.close(ended)
