"""How a program ended, and how to end the same way ourselves."""

from __future__ import annotations

import os
import resource
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn


@dataclass(frozen=True, slots=True)
class ExitResult:
    """The exit status `code` (0..255), or the number of the `signal` that ended the program; the other is None."""

    code: int | None = None
    signal: int | None = None

    @classmethod
    def from_wait_status(cls, status: int) -> ExitResult:
        """From what waitpid(2) says of a process that ended."""
        if os.WIFSIGNALED(status):
            return cls(signal=os.WTERMSIG(status))
        return cls(code=os.WEXITSTATUS(status))


def leave(result: ExitResult) -> NoReturn:
    """End this process as the program ended, so that whoever waits for us cannot tell us apart.

    A status is left through SystemExit; a signal is sent to ourselves, which skips whatever would run at exit: call
    this last. Our own core dump would only stand in the way of the program's, so there is none. Main thread only.
    """
    if result.signal is None:
        sys.exit(result.code)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # closed before we started, or meanwhile
            stream.flush()
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with suppress(OSError):  # SIGKILL has no handler to reset
        signal.signal(result.signal, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {result.signal})
    os.kill(os.getpid(), result.signal)
    sys.exit(128 + result.signal)  # a signal that is ignored by default cannot have ended a program, but be sure
