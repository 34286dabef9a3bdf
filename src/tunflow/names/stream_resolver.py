"""A resolver that is asked over TCP, TLS, HTTPS or QUIC: one connection for all queries.

Rules: it is opened by the first query, answers come in any order (RFC 7766 §6.2.1), and it is closed when nothing was
asked for `IDLE_CLOSE` seconds. A query whose connection breaks goes out once more on a fresh one, because servers close
idle connections whenever they like. A connection on which nothing is heard while a query waits for `PATIENCE` seconds
is dead and closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tunflow.dns.messages import is_answer, padded, with_identifier
from tunflow.loop.reactor import Reactor, Timer
from tunflow.names.exchange import PATIENCE, Cancel, Ended, Exchange, Heard
from tunflow.names.stream import DNSStream
from tunflow.protocols.contract import Blocked

IDLE_CLOSE = 10.0
"""Seconds. RFC 7766 §6.2.3: a client should close what it no longer needs; servers wait for some seconds only."""
MOST = 1024
"""Queries on one connection at once."""

Received = Callable[[int, bytes], None]
Lost = Callable[[str, bool], None]


class DNSSession(Protocol):
    """A connection that carries numbered queries; see `DNSStream` for when it calls back."""

    @property
    def heard_at(self) -> float | None:
        """When bytes last came."""

    def ask(self, number: int, message: bytes) -> None:
        """Send a query."""

    def close(self) -> None:
        """Give the descriptor back."""


OpenSession = Callable[[Received, Lost], DNSSession]
"""Dials by the way of the moment. Raises Blocked or OSError."""


class MessageSession:
    """DNS over TCP or TLS: the number is the message's identifier. `open_stream` dials."""

    def __init__(self, open_stream: Callable[[Callable[[bytes], None]], DNSStream], received: Received) -> None:
        self._received = received
        self._stream = open_stream(self._message)

    @property
    def heard_at(self) -> float | None:
        """When bytes last came."""
        return self._stream.heard_at

    def ask(self, number: int, message: bytes) -> None:
        """Send a query."""
        self._stream.send([with_identifier(message, number)])

    def close(self) -> None:
        """Give the descriptor back."""
        self._stream.close()

    def _message(self, message: bytes) -> None:
        self._received(int.from_bytes(message[:2], "big"), message)


class StreamResolver:
    """See the module's rules. `draw` gives random bits."""

    def __init__(
        self,
        reactor: Reactor,
        label: str,
        open_session: OpenSession,
        draw: Callable[[int], int],
        *,
        pads: bool = False,
    ) -> None:
        """`pads` for what is encrypted: queries get the lengths of others."""
        self._pads = pads
        self.label = label
        self.dropped = 0
        """Messages that answered nothing."""
        self._reactor = reactor
        self._open_session = open_session
        self._draw = draw
        self._asks: dict[int, Exchange] = {}
        self._session: DNSSession | None = None
        self._used_at = 0.0
        self._idle_timer: Timer | None = None

    def ask(self, query: bytes, heard: Heard, ended: Ended) -> Cancel:
        """As `Upstreams.ask`."""
        reactor = self._reactor
        if self._pads:
            query = padded(query)
        asked = Exchange(query, self.label, heard, ended, reactor.now)
        if len(self._asks) >= MOST:
            reactor.call_soon(lambda: asked.end("too many queries wait", reactor.now))
            return lambda: None
        number = self._draw(16)
        while number in self._asks:
            number = self._draw(16)
        asked.number = number
        self._asks[number] = asked
        self._used_at = reactor.now
        timer = reactor.call_later(PATIENCE, lambda: self._silent(asked))

        def cancel() -> None:
            asked.over = True
            timer.cancel()
            self._asks.pop(number, None)
            self._watch_idle()

        try:
            if self._session is not None:
                self._session.ask(number, query)
            else:
                reactor.call_soon(self._connect)  # with all that this round asks
        except Exception:
            cancel()  # whoever asks does not know of it
            raise
        return cancel

    def reconnect(self) -> None:
        """As `Upstreams.reconnect`."""
        self._drop()
        self._connect()

    def close(self) -> None:
        """Forget everything without a word."""
        for asked in self._asks.values():
            asked.over = True
        self._asks.clear()
        self._drop()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _connect(self) -> None:
        if self._session is not None or not self._asks:
            return
        try:
            self._session = self._open_session(self._received, self._lost)
        except (Blocked, OSError) as error:
            self._end_all(error.strerror or str(error) if isinstance(error, OSError) else str(error))
            return
        for number, asked in list(self._asks.items()):
            if self._session is not None:  # a connection can be of no use from the start
                asked.sent_at = self._reactor.now
                self._session.ask(number, asked.message)

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _received(self, number: int, message: bytes) -> None:
        """A message, or none where the resolver could not give one."""
        asked = self._asks.get(number)
        if asked is None or (message and not is_answer(message, asked.query)):
            self.dropped += 1
            return
        del self._asks[number]
        self._used_at = now = self._reactor.now
        if message:
            asked.heard(message, now)
        asked.end("its answer was not taken" if message else "it answered with an error", now)
        self._watch_idle()

    def _lost(self, why: str, established: bool) -> None:
        self._drop()
        again = {}
        asks, self._asks = self._asks, {}
        for number, asked in asks.items():
            if established and not asked.retried:
                asked.retried = True
                again[number] = asked
        self._asks = again
        for asked in asks.values():
            if asked.number not in again:
                asked.end(why, self._reactor.now)
        self._connect()

    def _silent(self, asked: Exchange) -> None:
        """A query had no answer in time."""
        if asked.over or self._asks.pop(asked.number, None) is None:
            return
        heard_at = self._session.heard_at if self._session is not None else None
        if heard_at is None or heard_at <= asked.sent_at:
            self._drop()
            for other in self._asks.values():
                other.retried = True
            self._connect()
        asked.end(f"no answer for {PATIENCE:g} seconds", self._reactor.now)

    def _end_all(self, why: str) -> None:
        asks, self._asks = self._asks, {}
        for asked in asks.values():
            asked.end(why, self._reactor.now)

    def _watch_idle(self) -> None:
        if self._idle_timer is None and self._session is not None and not self._asks:
            self._idle_timer = self._reactor.call_at(self._used_at + IDLE_CLOSE, self._on_idle)

    def _on_idle(self) -> None:
        self._idle_timer = None
        if self._asks:
            return  # the next answer arms it again
        if self._reactor.now >= self._used_at + IDLE_CLOSE:
            self._drop()
        else:
            self._watch_idle()
