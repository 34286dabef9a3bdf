"""Enters the namespaces that hold a captured program, and says what to do where the system forbids them.

An ordinary user makes a user namespace first, which lends the capabilities to make a network and a mount namespace.
It maps the one uid and gid of the caller to themselves, so the program sees its own uid; being no root there, it loses
the lent capabilities at exec (capabilities(7)). Uids that are not mapped show as "nobody" and setuid programs run
without their owner's rights.

Root needs no user namespace and gets none: with only uid 0 mapped `apt` could not drop to `_apt`, nor `su` or a
setuid program become anybody. A root without the capabilities (a container's) goes the ordinary user's way.

Read first: user_namespaces(7), network_namespaces(7), mount_namespaces(7).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from tunflow.errors import LocalError
from tunflow.host.syscalls import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER, unshare

CAP_NET_ADMIN = 12
CAP_SYS_ADMIN = 21
_NEEDED = 1 << CAP_NET_ADMIN | 1 << CAP_SYS_ADMIN

Facts = Callable[[str], str]
"""Reads a file below /proc, stripped; "" where it does not exist."""


def enter() -> bool:
    """Move this single-threaded process into a network and a mount namespace of its own.

    Return True if that took a user namespace. Raises LocalError with the remedy.
    """
    if not read_fact("self/status"):
        raise LocalError("/proc is not mounted here: `mount -t proc proc /proc` (a chroot needs its own)")
    needs_user = os.geteuid() != 0 or not _has_capabilities(read_fact)
    if needs_user:
        try:
            _enter_user_namespace()
        except OSError as error:
            raise LocalError(explain_user_namespace(error, read_fact)) from None
    try:
        unshare(CLONE_NEWNET | CLONE_NEWNS)
    except OSError as error:
        if needs_user and error.errno == errno.EPERM:
            # AppArmor (Ubuntu 24.04) grants the user namespace, then denies every capability in it.
            raise LocalError(explain_user_namespace(error, read_fact)) from None
        raise LocalError(_explain_namespaces(error, read_fact)) from None
    return needs_user


def read_fact(name: str) -> str:
    """The text of a file below /proc, stripped; "" where it cannot be read."""
    try:
        return Path("/proc", name).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def explain_user_namespace(error: OSError, fact: Facts) -> str:
    """One line on why there is no user namespace for us, and the remedy. `fact` reads a file below /proc."""
    as_root = "or run tunflow as root"
    if fact("sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor denies user namespaces to ordinary users"
            " (Ubuntu's kernel.apparmor_restrict_unprivileged_userns=1):"
            " `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0` allows them, an AppArmor profile with"
            f" `userns,` allows them to tunflow alone (docs/run.md), {as_root}"
        )
    if fact("sys/user/max_user_namespaces") == "0":
        return (
            "User namespaces are switched off (user.max_user_namespaces=0):"
            f" `sudo sysctl user.max_user_namespaces=10000` allows them, {as_root}"
        )
    if fact("sys/kernel/unprivileged_userns_clone") == "0":
        return (
            "User namespaces are kept from ordinary users (kernel.unprivileged_userns_clone=0):"
            f" `sudo sysctl kernel.unprivileged_userns_clone=1` allows them, {as_root}"
        )
    if error.errno in (errno.ENOSPC, errno.EUSERS):
        return f"User namespaces are too many or nested too deep: raise user.max_user_namespaces, {as_root}"
    if error.errno in (errno.EINVAL, errno.ENOSYS):
        return f"This kernel has no user namespaces (CONFIG_USER_NS): use one that has, {as_root}"
    if error.errno == errno.EPERM and _is_chroot(fact):
        return f"A chroot may have no user namespaces (user_namespaces(7)): run tunflow outside of it, {as_root}"
    if _is_filtered(fact):
        return (
            "A seccomp filter, as container runtimes install it, denies user namespaces: start the container with"
            " `--cap-add SYS_ADMIN --cap-add NET_ADMIN --device /dev/net/tun --security-opt apparmor=unconfined`"
        )
    return (
        f"The system denies user namespaces ({error.strerror}): a chroot, SELinux or another security module may be"
        f" the reason; allow them there, {as_root}"
    )


def _explain_namespaces(error: OSError, fact: Facts) -> str:
    if error.errno == errno.ENOSPC:
        return "There are too many namespaces: raise user.max_net_namespaces and user.max_mnt_namespaces with sysctl"
    if error.errno in (errno.EINVAL, errno.ENOSYS):
        return "This kernel has no network namespaces (CONFIG_NET_NS): use one that has"
    if _is_filtered(fact):
        return f"A seccomp filter denies a network namespace (unshare: {error.strerror}): start tunflow without it"
    return f"The system denies a network namespace ({error.strerror}): look for a security module (SELinux, AppArmor)"


def _enter_user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER)
    _write("/proc/self/uid_map", f"{uid} {uid} 1\n")
    # user_namespaces(7): a gid map written without CAP_SETGID outside needs setgroups denied first.
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/gid_map", f"{gid} {gid} 1\n")


def _write(path: str, text: str) -> None:
    Path(path).write_text(text, encoding="ascii")


def _has_capabilities(fact: Facts) -> bool:
    return int(_status(fact, "CapEff"), 16) & _NEEDED == _NEEDED


def _is_chroot(fact: Facts) -> bool:
    """Return True if "/" is no mount point, as in a chroot to a mere folder."""
    mounts = fact("self/mountinfo").splitlines()
    return bool(mounts) and all(line.split(" ", 5)[4] != "/" for line in mounts)


def _is_filtered(fact: Facts) -> bool:
    return _status(fact, "Seccomp") == "2"


def _status(fact: Facts, field: str) -> str:
    for line in fact("self/status").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.strip()
    return "0"
