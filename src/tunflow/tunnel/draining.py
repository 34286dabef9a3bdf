"""The end of a tunnel whose last bytes are not the kernel's to send: it is served on until they have arrived."""

from __future__ import annotations

from collections.abc import Callable

from tunflow.loop.reactor import Reactor

DRAIN = 10.0
"""Seconds for what is left at the end."""
QUIET = 0.02
"""Seconds in which a client's kernel says what it has left to say."""


def drain(reactor: Reactor, is_drained: Callable[[], bool]) -> None:
    """Serve on until what is left has arrived, for `DRAIN` seconds at most."""
    began = reactor.now
    while reactor.now < began + QUIET or (not is_drained() and reactor.now < began + DRAIN):
        reactor.run_once(QUIET)
