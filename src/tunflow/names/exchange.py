"""One query on its way to one resolver: what every transport keeps of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tunflow.contained import Contained
from tunflow.dns.messages import Query, parse_query_untrusted

Heard = Callable[[bytes, str, float], None]
"""A reply, the resolver's label, and the time."""
Ended = Callable[[str, float], None]
"""Why nothing more comes, and the time."""
Cancel = Callable[[], None]

PATIENCE = 4.5
"""Seconds from a query to giving it up: less than a client waits (5 s), so that it can be told."""


class Upstreams(Protocol):
    """One resolver, or several that are asked as one."""

    label: str

    def ask(self, query: bytes, heard: Heard, ended: Ended) -> Cancel:
        """As `tunflow.dns.lookup.Asker.ask`."""

    def reconnect(self) -> None:
        """The network has changed: what waits is asked again, on sockets that know the new one."""

    def close(self) -> None:
        """Give everything back, without a word to whoever waits."""


class Exchange(Contained):
    """A query that waits for its answer; `over` once it needs none any more."""

    __slots__ = ("_ended", "_heard", "_now", "label", "message", "number", "over", "query", "retried", "sent_at")

    def __init__(self, message: bytes, label: str, heard: Heard, ended: Ended, now: float) -> None:
        self.message = message
        self.query: Query = parse_query_untrusted(message)  # one of our own
        self._now = now
        self.label = label
        self.number = -1
        """What it is known under on the connection."""
        self.sent_at = now
        self.retried = False
        self.over = False
        self._heard = heard
        self._ended = ended

    def heard(self, message: bytes, now: float) -> None:
        """A reply came."""
        if not self.over:
            self._now = now
            self._heard(message, self.label, now)

    def end(self, why: str, now: float) -> None:
        """Nothing more comes."""
        if not self.over:
            self.over = True
            self._ended(why, now)

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"a query to {self.label}"

    def cut(self) -> None:
        """As `Contained.cut`."""
        self.end("internal error", self._now)
