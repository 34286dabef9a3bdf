"""Fetches lists through a tunnel that this process carries, whose own sockets would go around it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from http import HTTPStatus
from urllib.parse import urljoin

from tunflow.errors import LocalError, RemoteError
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import SocketOptions
from tunflow.loop.thread_calls import ThreadCalls
from tunflow.outbound.chain import goes_direct
from tunflow.outbound.web_request import WebAnswer, WebRequest
from tunflow.profiles.imports.fetch import (
    USER_AGENT,
    USER_INFO,
    ServerReply,
    basic_authorization,
    fetch_changed,
    web_address,
)
from tunflow.protocols.contract import Outbound
from tunflow.tunnel import rule_data
from tunflow.tunnel.rule_update import PATIENCE
from tunflow.urls import parse_web_address

MOST_REDIRECTS = 5
_MOVED = {301, 302, 303, 307, 308}


class FetchThrough:
    """`fetch` is for threads beside the loop's, until `close`. `way` gives the way out of the moment."""

    def __init__(self, reactor: Reactor, way: Callable[[], Outbound], sockets: SocketOptions) -> None:
        self._reactor = reactor
        self._way = way
        self._sockets = sockets
        self._calls = ThreadCalls(reactor)
        self._waiting: dict[Future[WebAnswer], WebRequest] = {}

    def close(self) -> None:
        """Fetch nothing more: who waits hears that. From the loop's thread."""
        self._calls.close()
        for future, request in self._waiting.items():
            request.close()
            future.set_exception(RemoteError("the tunnel ends"))
        self._waiting.clear()

    def fetch(self, url: str, etag: str | None) -> ServerReply:
        """What a URL holds, as `imports.fetch.fetch_changed`. Raises LocalError, RemoteError.

        Where the tunnel goes straight out itself, so does this.
        """
        if goes_direct(self._way()):
            return fetch_changed(url, etag, largest=rule_data.LARGEST, patience=PATIENCE)
        address = web_address(url)
        for _ in range(MOST_REDIRECTS):
            answer = self._ask(address, etag)
            if answer.status not in _MOVED or "location" not in answer.headers:
                break
            to = _moved_to(address, answer.headers["location"])
            if address.startswith("https:") and not to.startswith("https:"):
                raise RemoteError(f"{parse_web_address(address).where} leads to an address without TLS")
            address = to
        host = parse_web_address(address).where
        user_info = answer.headers.get(USER_INFO.lower())
        if answer.status == HTTPStatus.NOT_MODIFIED and etag:
            return ServerReply(None, etag, user_info)
        if answer.status != HTTPStatus.OK:
            raise RemoteError(f"{host} answered with status {answer.status}")
        return ServerReply(answer.body, answer.headers.get("etag"), user_info)

    def _ask(self, address: str, etag: str | None) -> WebAnswer:
        """Ask once, and wait. Raises LocalError, RemoteError."""
        parts = parse_web_address(address)
        headers = {"User-Agent": USER_AGENT, "Accept": "*/*"} | ({"If-None-Match": etag} if etag else {})
        if parts.user_information is not None:
            headers["Authorization"] = basic_authorization(parts.user_information)
        answer: Future[WebAnswer] = Future()

        def done(outcome: WebAnswer | RemoteError) -> None:
            self._waiting.pop(answer, None)
            if isinstance(outcome, RemoteError):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome)

        def begin() -> None:
            self._waiting[answer] = WebRequest(
                self._reactor, self._way(), self._sockets, address, headers, rule_data.LARGEST, PATIENCE, done
            )

        try:
            self._calls.call(begin).result()
        except RuntimeError:  # it was closed
            raise RemoteError("the tunnel ends") from None
        return answer.result()


def _moved_to(address: str, location: str) -> str:
    """Where an answer sends who asked. Raises RemoteError."""
    try:
        return web_address(urljoin(address, location))
    except (ValueError, LocalError) as error:
        raise RemoteError(f"{parse_web_address(address).where} leads to no web address: {error}") from None
