"""Shows the program the /sys of its own network namespace.

The network part of sysfs belongs to the namespace that the file system was mounted from: without a mount of its own
a program finds the host's devices in /sys/class/net. `ip netns exec` does the same. Mounts below /sys (cgroups,
security modules) are carried over; where the system does not allow all of it, /sys stays the host's, which shows
names of the host's devices and gives no way to use them.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from tunflow.host.program.mounts import handle
from tunflow.host.syscalls import (
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    mount,
    unmount,
)

_SYS = "/sys"


def renew() -> bool:
    """Mount a new sysfs over /sys with everything that was mounted below. Return True if that worked."""
    points = submounts(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape"))
    if points is None:
        return False
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    if os.statvfs(_SYS).f_flag & os.ST_RDONLY:
        flags |= MS_RDONLY
    with ExitStack() as handles:
        try:
            kept = [(point, handles.enter_context(handle(point))) for point in points]
            mount("sysfs", _SYS, "sysfs", flags)
        except OSError:
            return False
        try:
            for point, beneath in kept:
                mount(beneath, point, "", MS_BIND | MS_REC)
        except OSError:
            unmount(_SYS, MNT_DETACH)
            return False
    return True


def submounts(mountinfo: str) -> list[str] | None:
    """The mount points directly on the mount at /sys, in /proc/self/mountinfo's text; None where /sys is no mount.

    proc_pid_mountinfo(5): mount id, parent's id, device, root, mount point (with octal escapes), …
    """
    mounts = [line.split(" ", 5)[:5] for line in mountinfo.splitlines()]
    top = None
    for number, _, _, _, point in mounts:
        if point == _SYS:
            top = number
    if top is None:
        return None
    return [_unescape(point) for _, parent, _, _, point in mounts if parent == top]


def _unescape(point: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, character)
    return point
