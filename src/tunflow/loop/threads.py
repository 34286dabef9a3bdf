"""The threads behind `asyncio.to_thread`: they never keep the process from ending, and take no signals.

The standard pool's threads are waited for when the interpreter ends, so a provider's thread that waits for an answer on
a terminal would keep `tunflow run` from ending after its program has. Work that nobody waits for any more ends with
the process here. Signals are the program's, or the loop's in the main thread.
"""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

MOST = 32
"""Threads at a time; more work waits for one of them, as in the standard pool (min(32, CPUs + 4))."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class BackgroundThreads(ThreadPoolExecutor):
    """A pool of daemon threads. A `ThreadPoolExecutor` by name only: asyncio takes nothing else as its default."""

    def __init__(self) -> None:
        super().__init__(MOST)
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._free = threading.Semaphore(0)
        """Threads that wait for work."""
        self.started = 0
        """Threads so far, no more than `MOST`."""
        self._guard = threading.Lock()
        self._is_over = False

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """See Executor. Raises RuntimeError after `shutdown`."""
        future: Future[_T] = Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:
                    future.set_exception(error)

        with self._guard:
            if self._is_over:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._work.put(work)
            if not self._free.acquire(blocking=False) and self.started < MOST:
                self.started += 1
                threading.Thread(target=self._run, name=f"background-{self.started}", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        """Take no more work. Never waits: what still runs ends by itself, or with the process."""
        with self._guard:
            self._is_over = True
            for _ in range(self.started):
                self._work.put(None)

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            work: Any = self._work.get()
            if work is None:
                return
            work()
            del work  # what it holds is not ours to keep while we wait
            self._free.release()
