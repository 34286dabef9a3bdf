"""Which of root's powers this process has, and letting go of those that it does not need.

Read first: capabilities(7), prctl(2) (PR_SET_KEEPCAPS, PR_SET_NO_NEW_PRIVS). Constants: linux/capability.h and
linux/prctl.h.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from tunflow.errors import LocalError

CAP_DAC_READ_SEARCH = 2
CAP_SETGID = 6
CAP_SETUID = 7
CAP_NET_ADMIN = 12
CAP_NET_RAW = 13
CAP_SYS_PTRACE = 19

USERS = ("tunflow", "nobody")
"""Who to become: a user of our own where the service made one."""

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


def effective() -> int:
    """The effective capabilities of the calling thread, as a mask."""
    for line in Path("/proc/thread-self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def require_net_admin() -> None:
    """Raise LocalError where the network may not be changed."""
    if not effective() >> CAP_NET_ADMIN & 1:
        raise LocalError("changing this machine's network takes root (CAP_NET_ADMIN)")


def why_kept() -> str | None:
    """Why root's rights cannot be dropped; None when they can."""
    if unprivileged_user() is None:
        return f"there is no user {' or '.join(USERS)}"
    if any(not effective() >> number & 1 for number in (CAP_SETUID, CAP_SETGID)):
        return "it takes CAP_SETUID and CAP_SETGID to become another user"
    places = [Path(__file__).parents[2], *(Path(entry) for entry in sys.path if entry)]
    closed = next((place for place in places if place.exists() and not _is_open(place)), None)
    return None if closed is None else f"{closed} can be read by root only"


def unprivileged_user() -> pwd.struct_passwd | None:
    """The user to become."""
    for name in USERS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        if found.pw_uid:
            return found
    return None


def give_folder(folder: Path) -> None:
    """Make a folder, if there is none, that the unprivileged user owns with all that is in it. Raises LocalError."""
    user = unprivileged_user()
    assert user is not None
    try:
        folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        for path in (folder, *folder.iterdir()):
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
    except OSError as error:
        raise LocalError(f"cannot give {folder} to {user.pw_name}: {error.strerror}") from error


def drop(kept: Iterable[int]) -> None:
    """Become the unprivileged user for good, with no capability but those of `kept`. Raises OSError.

    For a process with one thread: capabilities are a thread's own.
    """
    user = unprivileged_user()
    assert user is not None
    mask = sum(1 << number for number in kept) & effective()  # a service may have been given less
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _check(_libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0), "keep capabilities")
    os.setgroups([])
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    _check(_libc.capset(header, struct.pack("=6I", low, low, 0, high, high, 0)), "capset")


def end_with(parent: int) -> None:
    """Be killed when the process `parent`, which forked this one, ends however it does. Raises OSError.

    To be called behind `drop`: whoever becomes another user is let off (PR_SET_PDEATHSIG of prctl(2)).
    """
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "end with the parent")
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)  # it was gone before


def _is_open(place: Path) -> bool:
    """Return True if everybody may read what is in a folder."""
    place = place.resolve()
    return all(each.stat().st_mode & 0o001 for each in place.parents) and place.stat().st_mode & 0o005 == 0o005


def _check(result: int, tried: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), tried)
