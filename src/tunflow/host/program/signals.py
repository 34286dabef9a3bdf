"""Stands aside between a shell and the program: passes signals on, stops with the program, and learns of its end.

Rules:
- The program stays in our process group, so the terminal's own signals (Ctrl-C, Ctrl-Z, a new window size) reach it
  without us. The kernel marks them as its own (`si_code` > 0, sigaction(2)); passing them on would deliver them twice.
- A signal that a process sent to us (`si_code` <= 0) was meant for the program: it is passed on. One that a process
  sends to the whole group reaches the program twice, because siginfo does not tell the two apart.
- SIGHUP from the kernel is passed on where we lead the session: a terminal that hangs up signals its leader alone.
- When the program stops for the terminal's sake we stop by the same signal, so a shell sees its job stop; an orphaned
  group, which no shell would continue, the kernel does not stop. SIGSTOP is left to whoever sent it to the program:
  that may be a tool that continues the program alone, and a stopped tunnel would then hang it.
- All of this is one thread in sigwaitinfo(2). No handler runs, in particular not Python's for SIGINT.

Read first: credentials(7), signal(7), POSIX XBD 11.1 (job control).
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress

from tunflow.host.program.exit_result import ExitResult

_OURS = {
    signal.SIGKILL,  # cannot be caught
    signal.SIGSTOP,
    signal.SIGSEGV,  # say something about this process
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGTRAP,
    signal.SIGABRT,
    signal.SIGSYS,
    signal.SIGPIPE,
    signal.SIGXCPU,
    signal.SIGXFSZ,
    signal.SIGPROF,
    signal.SIGVTALRM,
}

WATCHED: frozenset[int] = frozenset(signal.valid_signals() - _OURS)
"""Every signal that speaks to the program rather than of us, real-time ones included, and SIGCHLD."""

_TERMINAL_STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


class SignalRelay:
    """Passes signals to the process `pid`, our child, until it ends; then calls `on_end` once, in its own thread."""

    def __init__(self, pid: int, on_end: Callable[[ExitResult], None]) -> None:
        self._pid = pid
        self._on_end = on_end
        self._stopped = False

    def start(self) -> None:
        """Block the watched signals here, and in every thread started from here on, and begin to wait for them.

        Call it in the main thread before there are others: a thread that does not block a signal would take it.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        threading.Thread(target=self._run, name="signals", daemon=True).start()

    def _run(self) -> None:
        ended = self._look()  # for what happened before the signals were blocked
        while not ended:
            info = signal.sigwaitinfo(WATCHED)
            ended = self._look()
            if not ended and self._is_for_program(info):
                with suppress(ProcessLookupError, PermissionError):  # it may have become another user
                    os.kill(self._pid, info.si_signo)

    def _is_for_program(self, info: signal.struct_siginfo) -> bool:
        if info.si_signo == signal.SIGCHLD:
            return False
        if info.si_signo == signal.SIGCONT:
            # Whoever continued the group continued the program; whoever continued us alone means the program.
            return self._stopped
        leads_session = os.getsid(0) == os.getpid()
        return info.si_code <= 0 or (info.si_signo == signal.SIGHUP and leads_session)

    def _look(self) -> bool:
        """Take in what became of the program. Return True if it has ended."""
        while True:
            pid, status = os.waitpid(self._pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            if pid == 0:
                return False
            if os.WIFCONTINUED(status):
                self._stopped = False
            elif os.WIFSTOPPED(status):
                self._stopped = True
                self._stop_too(os.WSTOPSIG(status))
            else:
                self._on_end(ExitResult.from_wait_status(status))
                return True

    def _stop_too(self, number: int) -> None:
        if number not in _TERMINAL_STOPS or signal.SIGCONT in signal.sigpending():
            return
        # Raised while still blocked it is one with the terminal's own, if that waits here: we stop once, not twice.
        os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        signal.pthread_sigmask(signal.SIG_BLOCK, {number})  # runs once somebody has continued us
