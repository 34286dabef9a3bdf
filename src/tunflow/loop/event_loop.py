"""An asyncio loop on the reactor's own epoll: user code written with asyncio, in one thread with the packets.

asyncio asks its selector for events. This selector lets the reactor serve a round first, so the device, the relays
and the timers of the stack run as they do without asyncio, from one `epoll_wait` and with no future or task between,
and what is left for asyncio are the descriptors that asyncio itself waits on (docs/adr/0002).

Rule: coroutines may call the driver and the stack at any time; what they put out is flushed before the next wait.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import TYPE_CHECKING, Any

from tunflow.contained import Lost
from tunflow.loop.reactor import READ, READ_HANGUP, WRITE, Reactor
from tunflow.loop.threads import BackgroundThreads

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike


class ReactorSelector(selectors.BaseSelector):
    """A selector for asyncio (see `selectors.BaseSelector`) on a reactor."""

    def __init__(self, reactor: Reactor) -> None:
        self.loop_has_work: Callable[[], bool] = lambda: False
        self.timers: Callable[[], int] = lambda: 0
        """How many timers asyncio has; its own wait is for the first of them."""
        self._reactor = reactor
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._ready: list[tuple[selectors.SelectorKey, int]] = []

    def register(self, fileobj: FileDescriptorLike, events: int, data: object = None) -> selectors.SelectorKey:
        """As `selectors.BaseSelector.register`."""
        fd = _descriptor(fileobj)
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} is already registered")
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        self._reactor.add(fd, _epoll_events(events), lambda happened: self._happened(fd, happened))
        return key

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        """As `selectors.BaseSelector.unregister`."""
        key = self._keys.pop(self._find(fileobj))
        self._reactor.remove(key.fd)
        return key

    def modify(self, fileobj: FileDescriptorLike, events: int, data: object = None) -> selectors.SelectorKey:
        """As `selectors.BaseSelector.modify`."""
        fd = self._find(fileobj)
        if events != self._keys[fd].events:
            self._reactor.modify(fd, _epoll_events(events))
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Serve rounds until there is something for asyncio to do: one that only moves packets costs it nothing."""
        reactor = self._reactor
        timers = self.timers()
        reactor.end_round()  # what coroutines did since the last wait; it may give the loop work
        if timeout is not None:
            timeout = max(0.0, timeout)
        deadline = inf if timeout is None else time.monotonic() + timeout
        if self.loop_has_work():
            deadline, timeout = 0.0, 0.0
        while True:
            reactor.run_once(timeout)
            if self._ready or self.loop_has_work() or self.timers() != timers or reactor.now >= deadline:
                break
            if timeout is not None:
                timeout = deadline - reactor.now
        ready, self._ready = self._ready, []
        return ready

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        """As `selectors.BaseSelector.get_map`."""
        return _Registered(self, self._keys)

    def get_key(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        """As `selectors.BaseSelector.get_key`."""
        return self._keys[self._find(fileobj)]

    def close(self) -> None:
        """As `selectors.BaseSelector.close`."""
        for fd in self._keys:
            self._reactor.remove(fd)
        self._keys.clear()

    def _find(self, fileobj: FileDescriptorLike) -> int:
        """The descriptor of a registered object, which may be closed by now. Raises KeyError."""
        try:
            fd = _descriptor(fileobj)
        except ValueError:
            fd = next((key.fd for key in self._keys.values() if key.fileobj is fileobj), -1)
        if fd not in self._keys:
            raise KeyError(f"{fileobj!r} is not registered")
        return fd

    def _happened(self, fd: int, happened: int) -> None:
        key = self._keys[fd]
        events = 0
        if happened & ~WRITE:
            events |= selectors.EVENT_READ
        if happened & ~(READ | READ_HANGUP):
            events |= selectors.EVENT_WRITE
        if events & key.events:
            self._ready.append((key, events & key.events))


class _Registered(Mapping["FileDescriptorLike", selectors.SelectorKey]):
    """What is registered, by its file object or its descriptor: asyncio of Python 3.13 looks for it here."""

    def __init__(self, selector: ReactorSelector, keys: Mapping[int, selectors.SelectorKey]) -> None:
        self._selector = selector
        self._keys = keys

    def __getitem__(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._selector.get_key(fileobj)

    def __iter__(self) -> Iterator[FileDescriptorLike]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


class ReactorLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop that also runs `reactor`; closing it leaves the reactor open, and waits for no thread."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        selector = ReactorSelector(reactor)
        super().__init__(selector)
        selector.loop_has_work = lambda: bool(self._ready) or self._stopping  # type: ignore[attr-defined]
        selector.timers = self._scheduled.__len__  # type: ignore[attr-defined]
        self.set_default_executor(BackgroundThreads())
        self.set_exception_handler(_caught)
        if sys.version_info < (3, 12):
            # The default one until then has a thread for each child, which takes the signals of `tunflow run`.
            watcher = asyncio.PidfdChildWatcher()
            watcher.attach_loop(self)
            asyncio.set_child_watcher(watcher)


def _caught(loop: asyncio.AbstractEventLoop, about: dict[str, Any]) -> None:
    """asyncio's own callbacks and forgotten tasks: what they were about is ended by asyncio, and told as any bug is."""
    assert isinstance(loop, ReactorLoop)
    error = about.get("exception")
    if isinstance(error, Exception) and loop.reactor.containment is not None:
        loop.reactor.contain(error, Lost(f"asyncio ({about.get('message', '?')})"))
    else:
        loop.default_exception_handler(about)


def _descriptor(fileobj: FileDescriptorLike) -> int:
    fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
    if fd < 0:
        raise ValueError(f"no open file: {fileobj!r}")
    return fd


def _epoll_events(events: int) -> int:
    return (READ if events & selectors.EVENT_READ else 0) | (WRITE if events & selectors.EVENT_WRITE else 0)


HANDLERS_BEGIN = frozenset({ReactorSelector.select.__code__, asyncio.BaseEventLoop._run_once.__code__})  # type: ignore[attr-defined]
"""The code that calls handlers: inwards of it on a thread's stack is a handler, and what that called. (Not the
reactor's own: compiled code leaves no frame.)"""
