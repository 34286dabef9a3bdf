"""Names to addresses without holding up the loop.

Rules: getaddrinfo runs in a few daemon threads, started with the first name; answers come back to the loop
through an eventfd; the same name is looked up once at a time; answers are kept for half a minute
(getaddrinfo does not tell the record's own time to live), because every datagram of a flow may name its
target; what waits is bounded.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections import OrderedDict, deque
from collections.abc import Callable

from tunflow.addresses import ip_address
from tunflow.contained import Contained
from tunflow.loop.reactor import READ, Reactor

THREADS = 4
KEEP_SECONDS = 30.0
NAMES_KEPT = 1024
NAMES_WAITING = 1024
"""Lookups under way at once; further names are answered as unknown."""

Addresses = tuple[bytes, ...]
"""Packed addresses in the order to try them (RFC 6724 §6, as getaddrinfo sorts); empty when there is none."""

Answer = Callable[[Addresses], None]
Lookup = Callable[[str], Addresses]


def system_lookup(host: str) -> Addresses:
    """The addresses of `host` by the system's resolver; blocks.

    Names that no resolver may be asked for are none (RFC 7686 §2, RFC 6761 §6.4): the system's would ask.
    """
    if host.lower().rstrip(".").endswith((".onion", ".invalid")):
        return ()
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError):  # ValueError: a label that IDNA cannot encode, or a byte of zeros
        return ()
    return tuple(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]).packed for entry in found))


class InboundResolver(Contained):
    """Answers names on the loop's thread."""

    def __init__(self, reactor: Reactor, lookup: Lookup = system_lookup) -> None:
        self._reactor = reactor
        self.lookup = lookup
        """Asked in a thread; Raises OSError."""
        self._kept: OrderedDict[str, tuple[float, Addresses]] = OrderedDict()
        self._waiting: dict[str, list[Answer]] = {}
        self._names: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._found: deque[tuple[str, Addresses, Exception | None]] = deque()
        self._threads = 0
        self._lock = threading.Lock()
        self._closed = False
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        reactor.add(self._wake, READ, self._on_found)

    @property
    def waiting(self) -> int:
        """How many names are being looked up."""
        return len(self._waiting)

    about = "looking a name up for a client"

    def cut(self) -> None:
        """That name is not found."""

    def resolve(self, host: str, answer: Answer) -> None:
        """Call `answer` with the addresses of `host`: at once if they are known, else from a later round."""
        kept = self._kept.get(host)
        if kept is not None and self._reactor.now < kept[0]:
            answer(kept[1])
        elif host in self._waiting:
            self._waiting[host].append(answer)
        elif len(self._waiting) >= NAMES_WAITING:
            answer(())
        else:
            self._waiting[host] = [answer]
            if self._threads < THREADS:
                self._threads += 1
                threading.Thread(target=self._work, name="resolver", daemon=True).start()
            self._names.put(host)

    def close(self) -> None:
        """Answer nothing more; a lookup under way ends by itself."""
        if self._closed:
            return
        with self._lock:
            self._closed = True
            self._reactor.remove(self._wake)
            os.close(self._wake)
        for _ in range(self._threads):
            self._names.put(None)

    def _work(self) -> None:
        while (host := self._names.get()) is not None:
            addresses: Addresses = ()
            bug: Exception | None = None
            try:
                addresses = self.lookup(host)
            except Exception as error:
                bug = error
            with self._lock:  # the descriptor may be somebody else's once `close` has run
                if self._closed:
                    return
                self._found.append((host, addresses, bug))
                os.eventfd_write(self._wake, 1)

    def _on_found(self, _events: int) -> None:
        os.eventfd_read(self._wake)
        while self._found:
            host, addresses, bug = self._found.popleft()
            if bug is not None:
                self._reactor.contain(bug, self)
            if addresses:
                self._kept[host] = (self._reactor.now + KEEP_SECONDS, addresses)
                self._kept.move_to_end(host)
                if len(self._kept) > NAMES_KEPT:
                    self._kept.popitem(last=False)
            for answer in self._waiting.pop(host):
                self._reactor.contained(answer, addresses)
