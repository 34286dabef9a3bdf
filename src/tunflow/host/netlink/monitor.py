"""Tells when the network around the tunnel changes: links, addresses, routes and rules, by netlink, and sleep.

Rules:
1. Nothing is polled: the kernel wakes us. What it says is not read for its meaning, only as "something changed": the
   listener then looks at the state itself, which cannot be out of step with the kernel, whatever messages were lost.
2. One change comes as a burst (a link that goes down takes its addresses and routes along), so the listener is called
   once, `SETTLE` after the first message; a burst that goes on leads to more calls, never to none.

Read first: rtnetlink(7), netlink(7) (ENOBUFS: messages were lost).
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from tunflow.host.clock_watch import ClockWatch
from tunflow.host.netlink.messages import (
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV4_ROUTE,
    RTMGRP_IPV4_RULE,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_IPV6_ROUTE,
    RTMGRP_IPV6_RULE,
    RTMGRP_LINK,
)
from tunflow.host.netlink.socket import open_socket

GROUPS = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE
GROUPS |= RTMGRP_IPV4_RULE | RTMGRP_IPV6_RULE
"""Rules: systemd-networkd removes those that it did not make when it starts. No neighbours: they
come and go all the time."""

SETTLE = 0.05
"""Seconds."""


class NetworkMonitor:
    """Calls `changed()` after changes of the network and `woke(seconds)` after sleep, on the running event loop."""

    def __init__(
        self, changed: Callable[[], None], woke: Callable[[float], None], clock: ClockWatch | None = None
    ) -> None:
        self._changed = changed
        self._woke = woke
        self._loop = asyncio.get_running_loop()
        self._due: asyncio.TimerHandle | None = None
        self._clock = clock or ClockWatch()
        self._socket = open_socket(socket.NETLINK_ROUTE, GROUPS)
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket, self._on_message)
        self._loop.add_reader(self._clock, self._on_clock)

    def close(self) -> None:
        """Listen no more."""
        self._loop.remove_reader(self._socket)
        self._loop.remove_reader(self._clock)
        self._socket.close()
        self._clock.close()
        if self._due is not None:
            self._due.cancel()

    def _on_message(self) -> None:
        while True:
            try:
                self._socket.recv(1, socket.MSG_TRUNC)  # the rest of the datagram is dropped
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # some were lost, so something changed
                    raise
        if self._due is None:
            self._due = self._loop.call_later(SETTLE, self._settled)

    def _settled(self) -> None:
        self._due = None
        self._changed()

    def _on_clock(self) -> None:
        slept = self._clock.handle()
        if slept:
            self._woke(slept)
