"""Notices that the machine slept, without waking up to look.

A timer on the wall clock that is never due, armed with TFD_TIMER_CANCEL_ON_SET: the kernel cancels it, and so wakes us,
whenever the wall clock jumps, which is what it does at resume (`timerfd_resume`, fs/timerfd.c). CLOCK_BOOTTIME counts
the time asleep and CLOCK_MONOTONIC does not: when the difference grew, the machine slept; when not, the clock was set.

By ctypes until Python 3.13 is the oldest, which has `os.timerfd_create`. Read first: timerfd_create(2).
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable

TFD_TIMER_ABSTIME = 1
TFD_TIMER_CANCEL_ON_SET = 2
FAR = 1 << 40
"""Seconds since 1970: some thirty thousand years from now."""

SLEPT = 0.5
"""Seconds of difference that count as sleep: the two clocks are read one after the other."""


def time_asleep() -> float:
    """Seconds that this machine has slept since it booted."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


class _Specification(ctypes.Structure):
    """struct itimerspec."""

    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class ClockWatch:
    """`fileno` is readable after the wall clock jumped; `handle` then says how long the machine slept."""

    def __init__(self, asleep: Callable[[], float] = time_asleep) -> None:
        self._asleep = asleep
        self._before = asleep()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(time.CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._arm()

    def fileno(self) -> int:
        """The timer's descriptor."""
        return int(self._fd)

    def handle(self) -> float:
        """Arm it again; seconds that the machine slept since the last time, 0 when it did not."""
        try:
            os.read(self._fd, 8)
        except OSError:  # ECANCELED says that the clock jumped; EAGAIN that it did not
            self._arm()
        before, self._before = self._before, self._asleep()
        slept = self._before - before
        return slept if slept > SLEPT else 0.0

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)

    def _arm(self) -> None:
        wanted = _Specification(0, 0, FAR, 0)
        flags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET
        if self._libc.timerfd_settime(self._fd, flags, ctypes.byref(wanted), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")
