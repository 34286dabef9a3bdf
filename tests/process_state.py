"""What a test may not leave behind in the process that runs others after it: which those are differs between runs."""

from __future__ import annotations

import gc
import locale
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
_LIMITS = sorted({name for name in dir(resource) if name.startswith("RLIMIT_")})


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current


def process_state() -> dict[str, object]:
    """What tests that run later may depend on, by name."""
    return {
        "working directory": str(Path.cwd()),
        "umask": _umask(),
        "user": (os.getresuid(), os.getresgid(), os.getgroups()),
        "signal handlers": {number: signal.getsignal(number) for number in _SIGNALS},
        "blocked signals": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "timers": signal.getitimer(signal.ITIMER_REAL),
        "wake-up descriptor": _wakeup(),
        "resource limits": {name: resource.getrlimit(getattr(resource, name)) for name in _LIMITS},
        "niceness": os.getpriority(os.PRIO_PROCESS, 0),
        "CPUs": os.sched_getaffinity(0),
        "network": Path("/proc/thread-self/ns/net").readlink(),
        "mounts": Path("/proc/thread-self/ns/mnt").readlink(),
        "environment": {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
        "time zone": time.tzname,
        "locale": locale.setlocale(locale.LC_ALL),
        "time-out of sockets": socket.getdefaulttimeout(),
        "garbage collector": (gc.isenabled(), gc.get_threshold(), gc.get_debug()),
        "recursion limit": sys.getrecursionlimit(),
        "switch interval": sys.getswitchinterval(),
        "digits of integers": sys.get_int_max_str_digits(),
        "hooks": (sys.excepthook, sys.unraisablehook, threading.excepthook, sys.gettrace(), sys.getprofile()),
    }


def _wakeup() -> int:
    current = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(current)
    return current


def changes(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """One line for each thing that is not as it was."""
    found = []
    for name, old in before.items():
        new = after[name]
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            found += [
                f"{name}: {old.get(key)!r} before, {new.get(key)!r} now, {key}" for key in sorted(_differing(old, new))
            ]
        else:
            found.append(f"{name}: {old!r} before, {new!r} now")
    return found


def _differing(old: Mapping[Any, object], new: Mapping[Any, object]) -> set[Any]:
    return {key for key in {*old, *new} if old.get(key) != new.get(key)}


@contextmanager
def put_back(temporary: Path) -> Iterator[None]:
    """Undo what our code does to its process by design: folders on the import path and modules of files in `temporary`,
    as a user's provider leaves them, and how the garbage collector works in a process that serves."""
    path, modules, thresholds = list(sys.path), set(sys.modules), gc.get_threshold()
    try:
        yield
    finally:
        if gc.get_threshold() != thresholds:
            gc.set_threshold(*thresholds)
            gc.unfreeze()
            gc.collect()
            gc.freeze()  # as after collection (conftest.py), without what the test left
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and Path(file).is_relative_to(temporary):
                del sys.modules[name]
