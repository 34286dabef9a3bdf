"""The system calls that Python 3.11 lacks: `unshare`, `setns`, `mount` and `umount2`, through the C library.

Every call raises OSError whose `filename` says in words what was tried, so that the one line a user gets names the
step. Constants: Linux include/uapi/linux/sched.h and include/uapi/linux/mount.h. Read first: unshare(2), mount(2).
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x0001
MS_NOSUID = 0x0002
MS_NODEV = 0x0004
MS_NOEXEC = 0x0008
MS_BIND = 0x1000
MS_REC = 0x4000
MS_SLAVE = 1 << 19

MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
)


def unshare(flags: int) -> None:
    """Move this process into new namespaces. Raises OSError."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(fd: int, kind: int) -> None:
    """Move this process into the namespace behind `fd`, of the given kind (`CLONE_NEW…`). Raises OSError."""
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)), "setns")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2); `kind` is the file system type ("" for a bind). Raises OSError."""
    result = _libc.mount(_bytes(source), os.fsencode(target), _bytes(kind), flags, _bytes(data))
    _check(result, f"mount {kind or source} on {target}")


def unmount(target: str, flags: int = 0) -> None:
    """umount2(2). Raises OSError."""
    _check(_libc.umount2(os.fsencode(target), ctypes.c_int(flags)), f"unmount {target}")


def _bytes(text: str) -> bytes | None:
    return os.fsencode(text) if text else None


def _check(result: int, tried: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), tried)
