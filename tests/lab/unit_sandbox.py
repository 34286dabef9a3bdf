"""What a service unit denies, without systemd: python unit_sandbox.py UNIT COMMAND ARGS...

Its bounding set, system calls, namespaces and families of sockets, by prctl and libseccomp as systemd does it; folders
that are read-only and devices are left out. What else a unit says is not read.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

_PR_SET_NO_NEW_PRIVS = 38
_KILL, _ALLOW, _ERRNO = 0x80000000, 0x7FFF0000, 0x00050000
_EQUAL, _MASKED_EQUAL = 4, 7
_CLONE = {"mnt": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000,
          "pid": 0x20000000, "net": 0x40000000}  # fmt: skip


class _Comparison(ctypes.Structure):
    """`struct scmp_arg_cmp`."""

    _fields_ = [
        ("arg", ctypes.c_uint), ("op", ctypes.c_int), ("datum_a", ctypes.c_uint64), ("datum_b", ctypes.c_uint64)
    ]  # fmt: skip


_libc = ctypes.CDLL(None, use_errno=True)
_seccomp = ctypes.CDLL("libseccomp.so.2")
_seccomp.seccomp_init.restype = ctypes.c_void_p
_seccomp.seccomp_rule_add_array.argtypes = [
    ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p
]  # fmt: skip
_seccomp.seccomp_load.argtypes = _seccomp.seccomp_release.argtypes = [ctypes.c_void_p]


class Filter:
    """One seccomp filter."""

    def __init__(self, default: int) -> None:
        self._context = _seccomp.seccomp_init(default)

    def add(self, action: int, call: str, *comparisons: _Comparison) -> None:
        """A rule; a call that this kernel's architecture does not have is passed over."""
        number = _seccomp.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:
            conditions = (_Comparison * len(comparisons))(*comparisons)
            result = _seccomp.seccomp_rule_add_array(self._context, action, number, len(comparisons), conditions)
            assert result == 0, (call, os.strerror(-result))

    def load(self) -> None:
        """Have it count from now on, for all children too."""
        result = _seccomp.seccomp_load(self._context)
        assert result == 0, os.strerror(-result)
        _seccomp.seccomp_release(self._context)


def calls_of(words: list[str]) -> set[str]:
    """The system calls of a SystemCallFilter=."""
    calls: set[str] = set()
    for word in words:
        if word.startswith("@"):
            argv = ["systemd-analyze", "syscall-filter", "--no-pager", word]
            shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()[1:]
            calls |= calls_of([line.strip() for line in shown if line.strip() and not line.strip().startswith("#")])
        else:
            calls.add(word)
    return calls


def denied(settings: dict[str, list[str]]) -> list[Filter]:
    """Filters for what a unit denies."""
    calls = Filter(_KILL)
    for call in calls_of(["@default", *settings["SystemCallFilter"]]):
        calls.add(_ALLOW, call)
    namespaces = Filter(_ALLOW)
    namespaces.add(_ERRNO | errno.ENOSYS, "clone3")
    for name, flag in _CLONE.items():
        if name not in settings["RestrictNamespaces"]:
            for call in ("unshare", "clone"):
                namespaces.add(_ERRNO | errno.EPERM, call, _Comparison(0, _MASKED_EQUAL, flag, flag))
    families = Filter(_ALLOW)
    wanted = {getattr(socket, name) for name in settings["RestrictAddressFamilies"]}
    for family in set(range(46)) - wanted:
        families.add(_ERRNO | errno.EAFNOSUPPORT, "socket", _Comparison(0, _EQUAL, family, 0))
    return [namespaces, families, calls]


def main() -> None:
    """Become the command."""
    lines = (line.partition("=") for line in Path(sys.argv[1]).read_text().splitlines() if "=" in line)
    settings = {key: text.split() for key, _, text in lines}
    filters = denied(settings)
    bounding = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in settings["CapabilityBoundingSet"])
    argv = ["setpriv", f"--bounding-set=-all,{bounding}", "--inh-caps=-all", "--no-new-privs", *sys.argv[2:]]
    os.environ["INVOCATION_ID"] = "0"
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for each in filters:
        each.load()
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    main()
