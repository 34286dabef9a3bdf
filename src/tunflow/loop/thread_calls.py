"""Calls from other threads into the loop's: what belongs to the loop is touched by its thread alone."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from tunflow.loop.reactor import READ, Reactor

_T = TypeVar("_T")


class ThreadCalls:
    """Runs what other threads ask for in the reactor's rounds."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._asked: deque[Callable[[], None]] = deque()
        self._guard = threading.Lock()
        self._is_closed = False
        reactor.add(self._wake, READ, self._run)

    def call(self, function: Callable[[], _T]) -> Future[_T]:
        """Have `function` called in the loop; the future has what it returned or raised. From any thread.

        After `close` the future has a RuntimeError.
        """
        future: Future[_T] = Future()

        def run() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except Exception as error:
                    future.set_exception(error)

        with self._guard:  # the descriptor's number may be somebody else's once it is closed
            if self._is_closed:
                future.set_exception(RuntimeError("the loop takes no calls any more"))
            else:
                self._asked.append(run)
                os.eventfd_write(self._wake, 1)
        return future

    def close(self) -> None:
        """Run nothing any more, not even what waits; from the loop's thread."""
        with self._guard:
            self._is_closed = True
            self._reactor.remove(self._wake)
            os.close(self._wake)

    def _run(self, _: int) -> None:
        os.eventfd_read(self._wake)
        for _ in range(len(self._asked)):
            self._asked.popleft()()
