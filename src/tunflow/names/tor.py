"""Tor as a resolver: each query is one RESOLVE or RESOLVE_PTR on its SOCKS port.

Read first: Tor's socks-extensions. Tor tells one address of a name, of either family, and nothing else; so A and AAAA
queries for a name of the other family are answered with "no such record", and every other type fails. Names under
.onion have no address: `--dns tor` gives them fake ones before they come here.
"""

from __future__ import annotations

from collections.abc import Callable

from tunflow.dns import replies
from tunflow.dns.answers import AAAA, NO_SUCH_NAME, PTR, A
from tunflow.dns.messages import REFUSED, Query, failure
from tunflow.dns.names import reverse_address, text_of, wire_of
from tunflow.endpoint import Endpoint
from tunflow.errors import LocalError
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import SocketOptions
from tunflow.names.exchange import Cancel, Ended, Exchange, Heard
from tunflow.outbound.client import StreamClient
from tunflow.protocols.codec import Refusal
from tunflow.protocols.contract import NameQuestion, Outbound

TTL = 60
"""Seconds. Tor tells none; its own DNSPort says 60 where it has no better."""

AT_ONCE = 64
"""Queries on their way; more are told at once that they failed."""

PATIENCE = 30.0
"""Seconds: Tor may have to build a circuit first."""


class TorResolver:
    """Asks the Tor at the end of the dialer's chain, as `ask.Upstreams`."""

    label = "Tor"

    def __init__(self, reactor: Reactor, dialer: Callable[[], Outbound], sockets: SocketOptions) -> None:
        self._reactor = reactor
        self._dialer = dialer
        self._sockets = sockets
        self._asking: set[_Asking] = set()

    def ask(self, query: bytes, heard: Heard, ended: Ended) -> Cancel:
        """As `Upstreams.ask`."""
        ask = Exchange(query, self.label, heard, ended, self._reactor.now)
        question = self._question(ask.query)
        if question is None or len(self._asking) >= AT_ONCE:
            why = "too many queries at once" if question is not None else ""
            self._reactor.call_soon(lambda: self._refuse(ask, why))
            return lambda: None
        asking = _Asking(self, ask, question)
        self._asking.add(asking)
        return asking.close

    def reconnect(self) -> None:
        """Each query has a connection of its own, which is told by itself."""

    def close(self) -> None:
        """Forget everything without a word."""
        for asking in list(self._asking):
            asking.close()

    def open(self, question: NameQuestion, asking: _Asking) -> StreamClient:
        """A connection that asks `question`."""
        route = question.route
        return StreamClient(self._reactor, route, lambda _: None, asking.lost, self._sockets, opened=asking.answered)

    def over(self, asking: _Asking) -> None:
        """It needs its place no longer."""
        self._asking.discard(asking)

    @property
    def reactor(self) -> Reactor:
        """The loop."""
        return self._reactor

    def _question(self, query: Query) -> NameQuestion | None:
        """What Tor is asked for a query; None for what it cannot be asked."""
        tor = self._dialer().resolver
        if tor is None:
            return None
        try:
            if query.kind == PTR:
                address = reverse_address(query.name)
                return None if address is None else tor.resolve_pointer(address)
            return tor.resolve(text_of(query.name)) if query.kind in {A, AAAA} else None
        except LocalError:  # a name that SOCKS cannot carry
            return None

    def _refuse(self, ask: Exchange, why: str) -> None:
        if why:
            ask.end(why, self._reactor.now)
        else:
            ask.heard(failure(ask.query, REFUSED), self._reactor.now)


class _Asking:
    """One query on its way."""

    def __init__(self, resolver: TorResolver, ask: Exchange, question: NameQuestion) -> None:
        self._resolver = resolver
        self._ask = ask
        self._question = question
        self._timer = resolver.reactor.call_later(PATIENCE, lambda: self.lost("no answer", False))
        self._client = resolver.open(question, self)

    def answered(self) -> None:
        """Tor has told."""
        now = self._resolver.reactor.now
        self.close()
        self._ask.heard(_reply(self._ask.query, self._question.answer()), now)

    def lost(self, why: str, _established: bool) -> None:
        """Tor said no, or nothing."""
        now = self._resolver.reactor.now
        unknown = self._client.refusal is Refusal.HOST_UNREACHABLE
        self.close()
        if unknown:
            self._ask.heard(replies.nothing(self._ask.query, NO_SUCH_NAME), now)
        else:
            self._ask.end(why, now)

    def close(self) -> None:
        """Give the descriptor back."""
        self._timer.cancel()
        self._client.close()
        self._resolver.over(self)


def _reply(query: Query, found: Endpoint | None) -> bytes:
    if found is None:
        return replies.nothing(query)
    if isinstance(found.host, bytes):
        return replies.addresses(query, (found.host,), TTL)
    if query.kind != PTR:
        return replies.nothing(query)
    try:
        return replies.pointer(query, wire_of(found.host), TTL)
    except LocalError:
        return replies.nothing(query, NO_SUCH_NAME)
