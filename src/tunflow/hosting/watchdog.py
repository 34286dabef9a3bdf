"""Ends a provider's call that does not return: an endless loop, a blocking read, a `time.sleep`.

Providers run in the thread that also moves the packets, so such a call stops everything. A thread looks whether rounds
of the loop still end. When none did for `limit` seconds and the provider's code is on the main thread's stack, it says
where, and interrupts the call by raising `ProviderHung` in it. Code that cannot be interrupted ends the process:
whoever guards it (a kill switch, a service manager) then does its part.

It costs nothing while nothing happens: while the loop waits the thread waits too.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

from tunflow.loop.event_loop import HANDLERS_BEGIN
from tunflow.loop.reactor import Reactor
from tunflow.providers.blame import ProviderHung, innermost

LIMIT = 5.0
"""Seconds until a call counts as hanging; it is noticed at most as long again after that."""

ATTEMPTS = 3
"""Interruptions before the process ends."""

EXIT_STATUS = 70
"""sysexits.h, EX_SOFTWARE."""

SIGNAL = signal.SIGVTALRM
"""Not one that `tunflow run` passes on to its program (host.signals)."""


class Watchdog:
    """Watches the thread that makes it, which must be the main one; `tell` gets the line that says what hangs."""

    def __init__(self, reactor: Reactor, tell: Callable[[str], None], limit: float = LIMIT) -> None:
        self._tell = tell
        self._limit = limit
        self._watched = threading.get_ident()
        self._rounds = 0
        self._idle = False
        self._stop = threading.Event()
        self._busy = threading.Event()
        self._previous = signal.signal(SIGNAL, self._interrupt)
        self._reactor = reactor
        reactor.at_round_end(self._beat)
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._thread.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    @property
    def is_idle(self) -> bool:
        """True if it does not look, because the loop waits for something to happen."""
        return self._idle

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._reactor.forget_machine(self._beat)
        self._busy.set()
        self._thread.join(2 * self._limit)
        signal.signal(SIGNAL, self._previous)

    def _beat(self) -> None:
        self._rounds += 1
        if self._idle:
            self._idle = False
            self._busy.set()

    def _run(self) -> None:
        seen, attempts = -1, 0
        while not self._stop.is_set():
            if self._rounds != seen:
                seen, attempts = self._rounds, 0
            else:
                place = _place(sys._current_frames().get(self._watched))
                if place is None:
                    self._wait_until_busy(seen)
                    continue
                if attempts == ATTEMPTS:
                    self._tell(f"the provider hangs at {place} and cannot be interrupted: this process ends")
                    os._exit(EXIT_STATUS)
                attempts += 1
                self._tell(f"the provider hangs at {place}: its call is interrupted")
                signal.pthread_kill(self._watched, SIGNAL)
            self._stop.wait(self._limit)

    def _wait_until_busy(self, seen: int) -> None:
        """The loop waits for something to happen: so does this thread."""
        self._busy.clear()
        self._idle = True
        if self._rounds == seen and not self._stop.is_set():  # else a round ended meanwhile
            self._busy.wait()

    def _interrupt(self, _: int, frame: FrameType | None) -> None:
        if _place(frame) is not None:
            raise ProviderHung(f"did not return for {self._limit:g} s")


def _place(frame: FrameType | None) -> str | None:
    """`file:line` of the provider's code that a stack is in; None when the loop waits or tunflow itself works."""
    frames: list[tuple[str, int]] = []
    while frame is not None:
        if frame.f_code in HANDLERS_BEGIN:
            return innermost(frames)
        frames.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return None
