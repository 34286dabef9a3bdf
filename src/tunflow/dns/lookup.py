"""A lookup: one question that resolvers are asked, and the clients that wait for its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tunflow.dns.cache import CachedAnswer, Key
from tunflow.dns.messages import Query
from tunflow.dns.selection import Selection

ReplyTo = Callable[[bytes], None]


class Asker(Protocol):
    """Who carries a query to a group of resolvers."""

    def ask(
        self, group: str, query: bytes, heard: Callable[[bytes, str, float], None], ended: Callable[[str, float], None]
    ) -> Callable[[], None]:
        """Send `query` (its identifier is the asker's to choose) to a group.

        `heard(message, server, now)` is called for each reply that matches it, `ended(why, now)` once when no more can
        come; neither from within `ask`. What is returned ends it.
        """


class WaitingClient:
    """A client that waits."""

    __slots__ = ("client", "gone", "over_tcp", "query", "reply")

    def __init__(
        self, query: Query, client: bytes, over_tcp: bool, reply: ReplyTo, gone: Callable[[], None] | None
    ) -> None:
        self.query = query
        self.client = client
        self.over_tcp = over_tcp
        self.reply = reply
        self.gone = gone
        """For who must hear also that there will be no answer."""


class PendingQuery:
    """A question that is being asked."""

    __slots__ = ("cancels", "key", "name", "over", "query", "selection", "stale", "started", "validating", "waiting")

    def __init__(self, query: Query, name: str, key: Key, selection: Selection, now: float) -> None:
        self.query = query
        self.name = name
        self.key = key
        self.selection = selection
        self.started = now
        self.stale: CachedAnswer | None = None
        self.waiting: list[WaitingClient] = []
        self.cancels: list[Callable[[], None]] = []
        self.over = False
        self.validating = False
        """True if an answer is believed, and its signatures are looked at."""


Finished = Callable[[PendingQuery, str], None]
