"""Asks servers how they do, when `rules.groups.Health` says so: one small HTTP request through each.

Any HTTP answer counts unless the question wants certain ones: it proves that the server takes the password, reaches the
Internet, and how long that takes.
A check that cannot be made counts as failed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress

from tunflow.contained import Contained
from tunflow.endpoint import Buffer, endpoint
from tunflow.errors import LocalError, RemoteError
from tunflow.loop.reactor import Reactor, Timer
from tunflow.loop.sockets import SocketOptions
from tunflow.outbound.chain import goes_direct
from tunflow.outbound.client import StreamClient
from tunflow.protocols.contract import Blocked, Outbound
from tunflow.rules.groups import Health
from tunflow.rules.health_question import HealthQuestion
from tunflow.urls import parse_url

URL = "http://cp.cloudflare.com/generate_204"
"""An empty answer from a place that is everywhere; groups may name another."""


_STATUS_LINE = len("HTTP/1.1 204")
"""Bytes in which an answer's status stands (RFC 9112 §4)."""


class HealthChecks:
    """Serves one `Health` on a reactor until closed.

    `dialer_of` gives a server's dialer, None if it has none; `question_of` what it is asked for.
    """

    def __init__(
        self,
        reactor: Reactor,
        health: Health,
        dialer_of: Callable[[str], Outbound | None],
        question_of: Callable[[str], HealthQuestion],
        sockets: SocketOptions,
    ) -> None:
        self._reactor = reactor
        self._health = health
        self._dialer_of = dialer_of
        self._question_of = question_of
        self._sockets = sockets
        self._timer: Timer | None = None
        self._closed = False

    def arm(self) -> None:
        """Flows made somebody want to know how servers do: see to it that they are asked in time."""
        when = self._health.next_timeout()
        if when is None or self._closed:
            return
        if self._timer is not None:
            if self._timer.call is not None and self._timer.when <= when:
                return
            self._timer.cancel()
        self._timer = self._reactor.call_at(when, self._due)

    def close(self) -> None:
        """Ask nobody any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _due(self) -> None:
        try:
            self._health.handle_timeout(self._reactor.now)
            self._ask()
        finally:
            self.arm()

    def _ask(self) -> None:
        while self._health.due:
            self._reactor.contained(self._check, self._health.due.pop(0))

    def _check(self, server: str) -> None:
        _Check(self, server)

    def dial(
        self, server: str, received: Callable[[Buffer], None], lost: Callable[[str, bool], None]
    ) -> StreamClient | None:
        """Open a connection through a server and ask; None when there is no way."""
        with suppress(Blocked, OSError, ValueError, LocalError, RemoteError):
            return self._dial(server, self.question(server).url or URL, received, lost)
        return None

    def question(self, server: str) -> HealthQuestion:
        """What a server is asked for."""
        return self._question_of(server)

    def _dial(
        self, server: str, url: str, received: Callable[[Buffer], None], lost: Callable[[str, bool], None]
    ) -> StreamClient | None:
        """Raises Blocked, OSError, LocalError, RemoteError, or ValueError for a URL that nobody can be asked for."""
        dialer = self._dialer_of(server)
        parts = parse_url(url)
        host, is_tls = parts.host, parts.scheme == "https"
        target = endpoint(host, parts.port or (443 if is_tls else 80))
        if dialer is None or (goes_direct(dialer) and isinstance(target.host, str)):
            return None
        tls = None
        if is_tls:
            from tunflow.outbound.tls_context import client_context  # noqa: PLC0415 (OpenSSL, which few need)
            from tunflow.protocols.transport.tls import TLSClient  # noqa: PLC0415

            tls = TLSClient(client_context(), host)
        request = f"GET {parts.target} HTTP/1.1\r\nHost: {parts.where}\r\nConnection: close\r\n\r\n"
        data = request.encode("ascii")
        client = StreamClient(self._reactor, dialer.stream(target), received, lost, self._sockets, tls)
        client.send([data])
        return client

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        """As the reactor's."""
        return self._reactor.call_later(delay, call)

    @property
    def now(self) -> float:
        """The reactor's time."""
        return self._reactor.now

    def over(self, server: str, delay: float | None) -> None:
        """What a check found; None for a failure."""
        if delay is None:
            self._health.failed(server, self._reactor.now)
        else:
            self._health.succeeded(server, delay, self._reactor.now)
        if not self._closed:
            self._ask()
            self.arm()


class _Check(Contained):
    """One question to one server."""

    def __init__(self, checks: HealthChecks, server: str) -> None:
        self._checks = checks
        self._server = server
        self._began = checks.now
        self._head = b""
        self._is_over = False
        self._client: StreamClient | None = None
        self._timer: Timer | None = None
        self._question = checks.question(server)
        self._timer = checks.call_later(self._question.patience, lambda: self._end(None))
        self._client = checks.dial(server, self._received, lambda _why, _established: self._end(None))
        if self._client is None:
            self._timer.cancel()
            self._timer = checks.call_later(0, lambda: self._end(None))  # not from within the one that asks

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"asking how {self._server} does"

    def cut(self) -> None:
        """As `Contained.cut`: that is no answer."""
        self._end(None)

    def _received(self, data: Buffer) -> None:
        self._head += bytes(data[:_STATUS_LINE])
        if len(self._head) < _STATUS_LINE and self._head.startswith(b"HTTP/"[: len(self._head)]):
            return
        match = re.match(rb"HTTP/[0-9.]{1,3} ([0-9]{3})", self._head)
        is_right = match is not None and self._question.is_answered_by(int(match[1]))
        self._end(self._checks.now - self._began if is_right else None)

    def _end(self, delay: float | None) -> None:
        if self._is_over:
            return
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._client is not None:
            self._client.close()
        self._checks.over(self._server, delay)
