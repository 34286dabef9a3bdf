"""One epoll loop: file descriptors, timers and what runs at the end of each round.

Everything with I/O in `run`, `attach` and `serve` hangs on this loop. It is not asyncio: the bare loop spares about
a fifth of the cost of a packet (docs/adr/0002). User code written with asyncio can live in the same thread: see
`loop.event_loop`.
"""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable
from math import inf
from typing import Self

from tunflow.contained import Contained
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.containment import Containment
from tunflow.loop.path import SharedConnection
from tunflow.loop.waiting import Waiting

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
EDGE = select.EPOLLET
READ_HANGUP = select.EPOLLRDHUP
URGENT = select.EPOLLPRI
ERROR = select.EPOLLERR
HANGUP = select.EPOLLHUP

Handler = Callable[[int], None]


COMPACT_ABOVE = 256
"""Cancelled timers that may lie in the heap before they are swept, once they are more than half of it."""


class Timer:
    """A call that is due at a time; `cancel` may be called at any moment, also after it ran."""

    __slots__ = ("_reactor", "call", "when")

    def __init__(self, reactor: Reactor, when: float, call: Callable[[], None]) -> None:
        self._reactor = reactor
        self.when = when
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Forget the call."""
        if self.call is not None:
            self.call = None
            self._reactor.timer_cancelled()


class Reactor:
    """Waits on file descriptors and timers, and calls back; single-threaded."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds on a monotonic scale; another one than the system's is for tests."""
        self._clock = clock
        self._epoll = select.epoll()
        self._waiting = Waiting(self._epoll)
        self._handlers: dict[int, Handler] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._cancelled = 0
        self._soon: list[Callable[[], None]] = []
        self._round_end: list[Callable[[], None]] = []
        self._deadlines: list[tuple[Callable[[], float | None], Callable[[float], None]]] = []
        self._running = False
        self._removed: set[int] = set()
        self._due = -inf
        """When a timer or deadline is due that was known before the wait; a later one has its turn after the next."""
        self.now = clock()
        """The time of this round in seconds, read once when epoll returned."""
        self.shared: set[SharedConnection] = set()
        """Connections that many flows go by: they are told when their path is gone (`dataplane.network_change`)."""
        self.containment: Containment | None = None
        """Who takes an exception out of a callback; without one it ends the run."""

    @classmethod
    def containing(cls, tell: Callable[[str], None]) -> Self:
        """Return a loop in which a bug ends what it happened in; `tell` gets a line about it."""
        reactor = cls()
        reactor.containment = Containment(CauseLog(tell, lambda: reactor.now), lambda: reactor.now)
        return reactor

    @property
    def watched(self) -> int:
        """How many descriptors are watched."""
        return len(self._handlers)

    @property
    def timers(self) -> int:
        """How many timers are kept, cancelled ones that nobody has swept yet included."""
        return len(self._timers)

    @property
    def internal_errors(self) -> int:
        """How many bugs were contained."""
        return 0 if self.containment is None else self.containment.errors

    def fileno(self) -> int:
        """The epoll descriptor, readable when a descriptor has something for `run_once`."""
        return self._epoll.fileno()

    def add(self, fd: int, events: int, handler: Handler) -> None:
        """Call `handler(events)` when `fd` has one of `events` (with EDGE: when it newly has)."""
        self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def modify(self, fd: int, events: int) -> None:
        """Wait for other events on `fd`."""
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Stop waiting on `fd`. A descriptor that is not waited on is ignored."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)
            self._removed.add(fd)

    def forget(self, fd: int) -> None:
        """Like `remove`, for a descriptor that is closed right after and has no duplicate: the kernel does the rest."""
        if self._handlers.pop(fd, None) is not None:
            self._removed.add(fd)

    def call_at(self, when: float, call: Callable[[], None]) -> Timer:
        """Call once at `when` (in the scale of `now`)."""
        timer = Timer(self, when, call)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    def timer_cancelled(self) -> None:
        """A timer in the heap is dead. Its entry goes when its time comes, or when too many are dead."""
        self._cancelled += 1
        if self._cancelled > COMPACT_ABOVE and self._cancelled > len(self._timers) // 2:
            self._timers = [entry for entry in self._timers if entry[2].call is not None]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        """Call once, `delay` seconds after this round began."""
        return self.call_at(self.now + delay, call)

    def call_soon(self, call: Callable[[], None]) -> None:
        """Call in the next round, which then does not wait."""
        self._soon.append(call)

    def at_round_end(self, call: Callable[[], None]) -> None:
        """Call at the end of every round, once all of its events have been handled: the place to flush."""
        self._round_end.append(call)

    def add_deadline(self, next_timeout: Callable[[], float | None], handle: Callable[[float], None]) -> None:
        """Serve a machine's own timers: `handle(now)` runs once `next_timeout()` has passed."""
        self._deadlines.append((next_timeout, handle))

    def forget_machine(
        self, end_round: Callable[[], None], next_timeout: Callable[[], float | None] | None = None
    ) -> None:
        """Take back what `at_round_end` and `add_deadline` were given."""
        self._round_end = [call for call in self._round_end if call != end_round]
        self._deadlines = [pair for pair in self._deadlines if pair[0] != next_timeout]

    def stop(self) -> None:
        """Leave `run` at the end of this round."""
        self._running = False

    def run(self) -> None:
        """Serve until `stop` is called."""
        self._running = True
        while self._running:
            self.run_once(None)

    def run_once(self, longest: float | None) -> None:
        """Wait for at most `longest` seconds (None: as long as it takes), then serve one round."""
        handlers = self._handlers
        events = self._waiting.events(self._patience(longest))
        removed = self._removed
        removed.clear()
        self.now = self._clock()
        soon, self._soon = self._soon, []
        for fd, what in events:
            if fd in removed:
                continue  # an earlier call of this round closed it; the number may be a new socket's by now
            try:
                handlers[fd](what)
            except Exception as error:
                self.contain(error)
        for call in soon:
            try:
                call()
            except Exception as error:
                self.contain(error)
        if self.now >= self._due:
            self._run_timers()
            self._serve_deadlines()
        self.end_round()

    def sleep_next(self) -> None:
        """The next wait is a sleep: this round moved bulk, and whoever sends or takes it needs the CPU."""
        self._waiting.asleep = True

    @property
    def sleeps_next(self) -> bool:
        """True if the next wait is a sleep, whatever the waits before it were."""
        return self._waiting.asleep

    def end_round(self) -> None:
        """Do what is done at the end of every round; for whoever did something between two rounds."""
        for call in self._round_end:
            try:
                call()
            except Exception as error:
                self.contain(error)

    def contained(self, call: Callable[..., None], *arguments: object) -> None:
        """Call now; a bug in it does not end the caller, where `containment` is set."""
        try:
            call(*arguments)
        except Exception as error:
            self.contain(error)

    def contain(self, error: Exception, outermost: Contained | None = None) -> None:
        """A bug was caught: end what it happened in, or else `outermost`. Raises it where `containment` is not set.

        For loops over many flows, which go on with the next.
        """
        containment = self.containment
        if containment is None:
            raise error
        was_troubled = containment.troubled
        containment.caught(error, outermost)
        if containment.troubled and not was_troubled:
            self.at_round_end(self._round_over)

    def _round_over(self) -> None:
        assert self.containment is not None
        self.containment.round_over()
        if not self.containment.troubled:
            self.forget_machine(self._round_over)

    def close(self) -> None:
        """Give the epoll descriptor back. Nothing is waited on any more, so what is removed afterwards is ignored."""
        self._removed.update(self._handlers)
        self._handlers.clear()
        self._epoll.close()

    def _patience(self, longest: float | None) -> float | None:
        self._due = -inf
        if self._soon:
            return 0
        due: float | None = None
        timers = self._timers
        while timers and timers[0][2].call is None:
            heapq.heappop(timers)
            self._cancelled -= 1
        if timers:
            due = timers[0][0]
        try:
            for next_timeout, _ in self._deadlines:
                when = next_timeout()
                if when is not None and (due is None or when < due):
                    due = when
        except Exception as error:
            self.contain(error)
            due = self.now
        self._due = inf if due is None else due
        if due is None:
            return longest
        wait = due - self._clock()
        if wait < 0:
            return 0
        return wait if longest is None or wait < longest else longest

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= self.now:
            timer = heapq.heappop(self._timers)[2]
            call, timer.call = timer.call, None
            if call is None:
                self._cancelled -= 1
                continue
            try:
                call()
            except Exception as error:
                self.contain(error)

    def _serve_deadlines(self) -> None:
        for next_timeout, handle in self._deadlines:
            try:
                due = next_timeout()
                if due is not None and due <= self.now:
                    handle(self.now)
            except Exception as error:
                self.contain(error)
