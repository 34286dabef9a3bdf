"""The DNS forwarder: clients' queries over one TCP stream, through the servers, to a resolver of the user's choice.

TCP, because a proxy that carries TCP always works, while UDP through it is often blocked or lost. Rules:

1. One connection, opened by the first query and shared by all (RFC 7766 §6.2.1: pipelined, answers in any order). It
   is closed when nothing was asked for `IDLE_CLOSE` seconds, so an idle tunnel holds nothing.
2. Queries travel under identifiers of our own, drawn at random, so that clients' identifiers may clash. An answer is
   taken for the query whose identifier and question it has (RFC 5452 §9); any other is dropped.
3. A query whose connection breaks is sent once more, on a fresh one: servers close idle connections whenever they
   like (RFC 7766 §6.2.4). A second break, or a resolver that cannot be reached, is told as SERVFAIL at once, and a
   dialer that refuses as REFUSED.
4. A query that has no answer after `QUERY_TIMEOUT` is forgotten without a word. By then the client has asked again
   (glibc and musl do so after 5 s): a late SERVFAIL would be taken for the answer to *that*, and end it early. Nothing
   heard on the connection since the query went out means that the connection is dead, and it is closed: what the client
   asks next goes out on a fresh one.
"""

from __future__ import annotations

from collections.abc import Callable

from tunflow.dns.messages import (
    REFUSED,
    SERVER_FAILURE,
    Query,
    failure,
    is_answer,
    parse_query_untrusted,
    truncated,
    with_identifier,
)
from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket
from tunflow.loop.reactor import Reactor, Timer
from tunflow.loop.sockets import SocketOptions
from tunflow.loop.trouble import Trouble, seen
from tunflow.names.stream import DNSStream
from tunflow.protocols.contract import Blocked, Outbound

QUERY_TIMEOUT = 5.0
"""Seconds from a query to giving it up: the first time-out of glibc (RES_TIMEOUT) and of musl."""

IDLE_CLOSE = 10.0
"""Seconds without a query in flight. RFC 7766 §6.2.3: a client should close what it no longer needs; servers wait for
some seconds only."""

MAX_IN_FLIGHT = 512
"""Queries waiting at once. One more is told SERVFAIL: with so many unanswered the resolver is not going to."""


class _InFlight:
    """A query on its way."""

    __slots__ = ("deadline", "message", "query", "reply", "retried", "sent_at")

    def __init__(self, message: bytes, query: Query, reply: Callable[[bytes], None], now: float) -> None:
        self.message = message
        """The client's, under our identifier."""
        self.query = query
        self.reply = reply
        self.deadline = now + QUERY_TIMEOUT
        self.sent_at = now
        self.retried = False


class DNSForwarder:
    """Answers DNS queries by asking `resolver` over a stream that `dialer` plans; see the module's rules.

    `draw` gives that many random bits (`secrets.randbits`). `failed` is told, in words for the log, why a connection
    to the resolver could not be made or broke; it may be called often.
    """

    def __init__(
        self,
        reactor: Reactor,
        dialer: Outbound,
        resolver: Endpoint,
        draw: Callable[[int], int],
        failed: Callable[[str], None],
        sockets: SocketOptions,
    ) -> None:
        self.dropped = 0
        """Messages that were no query, and messages from the resolver that answered none."""
        self.trouble: Trouble | None = None
        """Why nobody answers, if that is so."""
        self._reactor = reactor
        self._dialer = dialer
        self._resolver = resolver
        self._draw = draw
        self._failed = failed
        self._sockets = sockets
        self._in_flight: dict[int, _InFlight] = {}  # by our identifier, oldest first
        self._stream: DNSStream | None = None
        self._used_at = 0.0
        self._timer: Timer | None = None

    def query(self, message: bytes, reply: Callable[[bytes], None]) -> None:
        """Ask for the client's `message`; `reply` gets the answer, fit for its UDP, at once, later or never."""
        try:
            query = parse_query_untrusted(message)
        except BadPacket:
            self.dropped += 1
            return
        if len(self._in_flight) >= MAX_IN_FLIGHT:
            reply(failure(query, SERVER_FAILURE))
            return
        identifier = self._draw(16)
        while identifier in self._in_flight:
            identifier = self._draw(16)
        asked = _InFlight(with_identifier(message, identifier), query, reply, self._reactor.now)
        self._in_flight[identifier] = asked
        self._used_at = self._reactor.now
        if self._stream is None:
            self._connect()
        else:
            self._stream.send([asked.message])
        self._arm()

    def reconnect(self) -> None:
        """The network moved: what is in flight goes out again, on a fresh connection."""
        if self._stream is not None:
            self._drop_stream()
            self._retry()
            self._arm()

    def close(self) -> None:
        """Forget everything without a word."""
        self._in_flight.clear()
        self._drop_stream()
        self._arm()

    # The connection.

    def _connect(self) -> None:
        """Open a stream for all that is in flight, which leaves with its first bytes."""
        try:
            route = self._dialer.stream(self._resolver)
        except Blocked:
            self._fail_all(REFUSED)
            return
        self._stream = DNSStream(self._reactor, route, self._received, self._lost, self._sockets)
        self._stream.send([asked.message for asked in self._in_flight.values()])

    def _drop_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _lost(self, why: str, established: bool) -> None:
        """The stream is gone: what has not been retried yet goes out on another one, once."""
        self._drop_stream()
        if not established:
            self._note(why)
            self._fail_all(SERVER_FAILURE)
        elif self._retry():
            self._note(why)
        self._arm()

    def _note(self, why: str) -> None:
        self.trouble = seen(self.trouble, f"names cannot be looked up: {why}", self._reactor.now)
        self._failed(why)

    def _retry(self) -> bool:
        """Send what is in flight on a fresh stream; whether there was anything that had its second chance before."""
        in_vain = [identifier for identifier, asked in self._in_flight.items() if asked.retried]
        for identifier in in_vain:
            asked = self._in_flight.pop(identifier)
            asked.reply(failure(asked.query, SERVER_FAILURE))
        for asked in self._in_flight.values():
            asked.retried = True
            asked.sent_at = self._reactor.now
        if self._in_flight and self._stream is None:
            self._connect()
        return bool(in_vain)

    def _fail_all(self, code: int) -> None:
        failed, self._in_flight = self._in_flight, {}
        for asked in failed.values():
            asked.reply(failure(asked.query, code))

    def _received(self, message: bytes) -> None:
        identifier = int.from_bytes(message[:2], "big")
        asked = self._in_flight.get(identifier)
        if asked is None or not is_answer(message, asked.query):
            self.dropped += 1
            return
        del self._in_flight[identifier]
        self._used_at = self._reactor.now
        self.trouble = None
        query = asked.query
        fits = len(message) <= query.udp_size
        asked.reply(with_identifier(message, query.identifier) if fits else truncated(query))

    # Time: one timer, for whatever comes first.

    def _arm(self) -> None:
        due: float | None = None
        for asked in self._in_flight.values():
            due = asked.deadline
            break
        else:
            if self._stream is not None:
                due = self._used_at + IDLE_CLOSE
        timer = self._timer
        if timer is not None:
            if due is not None and timer.when <= due:
                return  # it will look again then, which spares a timer for every query
            timer.cancel()
        self._timer = None if due is None else self._reactor.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now = self._reactor.now
        heard_at = self._stream.heard_at if self._stream is not None else None
        dead = False
        for identifier, asked in list(self._in_flight.items()):
            if asked.deadline > now:
                break
            del self._in_flight[identifier]
            dead = dead or heard_at is None or heard_at <= asked.sent_at
        if dead:
            self._note(f"no answer for {QUERY_TIMEOUT:.0f} seconds")
            self._drop_stream()
            self._retry()
        elif not self._in_flight and now >= self._used_at + IDLE_CLOSE:
            self._drop_stream()
        self._arm()
