"""Control groups that say which programs use the tunnel, or go around it.

Only the unified hierarchy (cgroup2) will do: nftables matches a socket's group there (`socket cgroupv2`), and a group
is as easily joined as left out. It is looked for below /sys/fs/cgroup, itself (as systemd has it) or in a folder of
it (the hybrid layout). The older net_cls hierarchy would need a class number in every packet and a kernel option that
distributions leave out.

    group = ControlGroup("/tunflow/bypass")
    group.create()              # then HostSettings(cgroups=(group.path,), scope=AppScope.BYPASS)
    group.add(os.getpid())      # before exec; children inherit it
    group.remove()              # when the last of them has ended

Read first: cgroups(7), Linux Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import errno
from pathlib import Path

from tunflow.errors import LocalError

ROOT = "/sys/fs/cgroup"
_NEEDED = f"per-program rules need the unified control group hierarchy (cgroup2) below {ROOT}"


class ControlGroup:
    """One group; `path` is absolute in the unified hierarchy, such as /tunflow/bypass."""

    def __init__(self, path: str) -> None:
        """Raises LocalError where there is no unified hierarchy."""
        self.path = path
        self._folder = Path(ROOT, _mounted(), path.strip("/"))

    @property
    def name(self) -> str:
        """What nft(8) calls the group: its path below /sys/fs/cgroup."""
        return str(self._folder.relative_to(ROOT))

    @property
    def level(self) -> int:
        """How deep it is; the root's own children are at 1."""
        return self.path.strip("/").count("/") + 1

    def create(self) -> None:
        """Make it, unless it is there. Raises LocalError."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LocalError(_explain(f"control group {self.path} cannot be made", error)) from None

    def check(self) -> None:
        """Raise LocalError unless it exists: a rule for one that does not would match nothing, for ever."""
        if not self._folder.is_dir():
            raise LocalError(f"control group {self.path!r} does not exist below {ROOT}")

    def add(self, pid: int) -> None:
        """Put process `pid` into it, and all that it starts from then on. Raises LocalError."""
        try:
            (self._folder / "cgroup.procs").write_text(str(pid), encoding="ascii")
        except OSError as error:
            raise LocalError(_explain(f"process {pid} cannot join control group {self.path}", error)) from None

    def processes(self) -> list[int]:
        """Who is in it. Raises LocalError."""
        try:
            return [int(line) for line in (self._folder / "cgroup.procs").read_text(encoding="ascii").split()]
        except OSError as error:
            raise LocalError(_explain(f"control group {self.path} cannot be read", error)) from None

    def remove(self) -> bool:
        """Remove it if nobody is in it. Return True if it is gone. Raises LocalError."""
        try:
            self._folder.rmdir()
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
                return False
            raise LocalError(_explain(f"control group {self.path} cannot be removed", error)) from None
        return True


def mount_point(mountinfo: str) -> str | None:
    """Where below /sys/fs/cgroup the unified hierarchy is: "" for itself, "unified"; None for nowhere.

    proc_pid_mountinfo(5): the mount point is field 5, the file system's type follows the "-".
    """
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        point = fields.split()[4]
        if rest.startswith("cgroup2 ") and (point == ROOT or point.startswith(ROOT + "/")):
            return point[len(ROOT) + 1 :]
    return None


def _mounted() -> str:
    point = mount_point(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace"))
    if point is None:
        raise LocalError(_NEEDED)
    return point


def _explain(what: str, error: OSError) -> str:
    if error.errno == errno.EROFS:
        return f"{what}: {ROOT} is read-only, as containers have it: run tunflow outside, or mount it writable"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{what}: it needs root, or a group that was delegated to this user"
    return f"{what}: {error.strerror}"
