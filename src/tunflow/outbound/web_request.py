"""One request for a document on the web through a way out, in a reactor's rounds.

Read first: RFC 9110, RFC 9112. The messages are h11's, which holds no socket.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import h11

from tunflow.endpoint import Buffer, endpoint
from tunflow.errors import LocalError, RemoteError
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import SocketOptions
from tunflow.outbound.client import StreamClient
from tunflow.outbound.tls_context import client_context
from tunflow.protocols.contract import Blocked, Outbound
from tunflow.protocols.transport.tls import TLSClient
from tunflow.urls import parse_web_address

LONGEST_HEAD = 64 * 1024
"""Bytes of an answer before its body."""


class WebAnswer(NamedTuple):
    """What a site said."""

    status: int
    headers: Mapping[str, str]
    """By names in lower case; of several of one name the last."""
    body: bytes


class WebRequest:
    """Asks at once. `done` is called once, from a later round, with the answer or the reason in words.

    Raises LocalError for what is no web address.
    """

    def __init__(
        self,
        reactor: Reactor,
        way: Outbound,
        sockets: SocketOptions,
        url: str,
        headers: Mapping[str, str],
        largest: int,
        patience: float,
        done: Callable[[WebAnswer | RemoteError], None],
    ) -> None:
        try:
            parts = parse_web_address(url)
        except ValueError as error:
            raise LocalError(f"no web address: {error}") from None
        self._host = parts.host
        self._largest = largest
        self._done = done
        self._http = h11.Connection(h11.CLIENT, LONGEST_HEAD)
        self._response: h11.Response | None = None
        self._body = bytearray()
        self._client: StreamClient | None = None
        self._timer = reactor.call_later(patience, lambda: self._fail(f"took more than {patience:.0f} s"))
        is_tls = parts.scheme == "https"
        request = h11.Request(
            method="GET",
            target=parts.target,
            headers=[("Host", parts.where), ("Connection", "close"), *headers.items()],
        )
        data = (self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b"")
        try:
            route = way.stream(endpoint(parts.host, parts.port or (443 if is_tls else 80)))
            tls = TLSClient(client_context(), parts.host) if is_tls else None
            self._client = StreamClient(reactor, route, self._received, self._lost, sockets, tls)
        except (Blocked, OSError, LocalError, RemoteError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            reactor.call_soon(lambda: self._fail(f"cannot be reached: {why}"))
            return
        self._client.send([data])

    def close(self) -> None:
        """Ask no more, without a word."""
        self._timer.cancel()
        if self._client is not None:
            self._client.close()
            self._client = None

    def _received(self, data: Buffer) -> None:
        self._http.receive_data(bytes(data))
        self._read()

    def _lost(self, why: str, established: bool) -> None:
        if established and self._response is not None:
            self._http.receive_data(b"")  # the end of a body without a length
            self._read()
        self._fail(why)

    def _read(self) -> None:
        try:
            while self._client is not None:
                event = self._http.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                    return
                if isinstance(event, h11.Response):
                    self._response = event
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    if len(self._body) > self._largest:
                        self._fail(f"sends more than {self._largest} bytes")
                elif isinstance(event, h11.EndOfMessage):
                    self._succeed()
        except h11.RemoteProtocolError as error:
            self._fail(f"does not speak HTTP: {error}")

    def _succeed(self) -> None:
        assert self._response is not None
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._response.headers}
        self._end(WebAnswer(self._response.status_code, headers, bytes(self._body)))

    def _fail(self, why: str) -> None:
        self._end(RemoteError(f"{self._host} {why}"))

    def _end(self, outcome: WebAnswer | RemoteError) -> None:
        self.close()
        done, self._done = self._done, lambda _: None
        done(outcome)
