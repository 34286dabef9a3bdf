"""What the commands share that serve until SIGINT or SIGTERM."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from tunflow.loop.reactor import READ, Reactor


def serving_reactor() -> Reactor:
    """A loop in which a bug ends the connection that it happened in, and is told on stderr."""
    return Reactor.containing(log_line)


def log_line(line: str) -> None:
    """One line on stderr, for people."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201  (this is the command's output)


def stop_on_signals(reactor: Reactor, stop: Callable[[], None] | None = None) -> None:
    """Let SIGINT and SIGTERM end the reactor's run at the end of its round, or have them call `stop`."""
    heard, told = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)  # the wake-up descriptor tells
    reactor.add(heard, READ, lambda _events: (stop or reactor.stop)())
