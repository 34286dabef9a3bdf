from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable

import pytest

from tunflow.host.program.exit_result import ExitResult, leave


def _wait_status(run: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            run()
        except SystemExit as ended:
            os._exit(int(ended.code or 0))
        finally:
            os._exit(99)
    return os.waitpid(pid, 0)[1]


@pytest.mark.parametrize("code", [0, 1, 2, 127, 255])
def test_a_status_is_handed_on(code: int) -> None:
    result = ExitResult.from_wait_status(_wait_status(lambda: os._exit(code)))
    assert result == ExitResult(code=code)
    assert os.waitstatus_to_exitcode(_wait_status(lambda: leave(result))) == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGPIPE, signal.SIGSEGV])
def test_a_signal_is_handed_on_even_when_ignored_and_blocked_here(number: int) -> None:
    def be_killed() -> None:
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def leave_too() -> None:
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
        leave(result)

    result = ExitResult.from_wait_status(_wait_status(be_killed))
    assert result == ExitResult(signal=number)
    status = _wait_status(leave_too)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == number
    assert not os.WCOREDUMP(status)
