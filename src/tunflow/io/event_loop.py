"""An asyncio loop on the reactor's own epoll: user code written with asyncio, in one thread with the packets.

asyncio asks its selector for events. This selector lets the reactor serve a round first, so the device, the relays
and the timers of the stack run as they do without asyncio, from one `epoll_wait` and with no future or task between,
and what is left for asyncio are the descriptors that asyncio itself waits on (docs/adr/0002).

Rule: coroutines may call the driver and the stack at any time; what they put out is flushed before the next wait.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tunflow.io.reactor import READ, READ_HANGUP, WRITE, Reactor

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike


class _ReactorSelector(selectors.BaseSelector):
    """What `selectors` asks of a selector, on a reactor."""

    def __init__(self, reactor: Reactor) -> None:
        self.loop_has_work: Callable[[], bool] = lambda: False
        self._reactor = reactor
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._ready: list[tuple[selectors.SelectorKey, int]] = []

    def register(self, fileobj: FileDescriptorLike, events: int, data: object = None) -> selectors.SelectorKey:
        fd = _descriptor(fileobj)
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} is already registered")
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        self._reactor.add(fd, _epoll_events(events), lambda happened: self._happened(fd, happened))
        return key

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        key = self._keys.pop(self._find(fileobj))
        self._reactor.remove(key.fd)
        return key

    def modify(self, fileobj: FileDescriptorLike, events: int, data: object = None) -> selectors.SelectorKey:
        fd = self._find(fileobj)
        if events != self._keys[fd].events:
            self._reactor.modify(fd, _epoll_events(events))
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._reactor.end_round()  # what coroutines did since the last wait
        if self.loop_has_work():
            timeout = 0  # which `end_round` has just given it
        self._reactor.run_once(timeout if timeout is None or timeout > 0 else 0)
        ready, self._ready = self._ready, []
        return ready

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def get_key(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._keys[self._find(fileobj)]

    def close(self) -> None:
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


class ReactorLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop that also runs `reactor`; closing it leaves the reactor open."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        selector = _ReactorSelector(reactor)
        super().__init__(selector)
        selector.loop_has_work = lambda: bool(self._ready)  # type: ignore[attr-defined]


def _descriptor(fileobj: FileDescriptorLike) -> int:
    fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
    if fd < 0:
        raise ValueError(f"no open file: {fileobj!r}")
    return fd


def _epoll_events(events: int) -> int:
    return (READ if events & selectors.EVENT_READ else 0) | (WRITE if events & selectors.EVENT_WRITE else 0)
