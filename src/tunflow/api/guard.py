"""Who may use the API: checked before anything of a request is looked at, in constant time, and slowly for strangers.

1. A browser names the page that asks (Origin). A page of another host may use it only where the profile lists it, with
   CORS answers; everybody else's scripts get 403.
2. The Host must be an address, `localhost`, or what the user called the listener, so that a name that a stranger points
   at 127.0.0.1 (DNS rebinding) gets nowhere.
3. With a secret every request but the page's own files shows it: `Authorization: Bearer`, or `?token=` for WebSocket.
   A wrong one waits; at most `WAITING` wait at a time, more are refused at once.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from tunflow.addresses import NotAnAddress, ip_address
from tunflow.contained import Contained
from tunflow.urls import NotAURL, parse_url

DELAY = 1.0
"""Seconds that a wrong secret waits."""

WAITING = 16

CLIENTS = 64
"""Requests at a time, WebSockets included."""

_METHODS = "GET, POST, PUT, PATCH, DELETE"


class Guard(Contained):
    """Stands before an application. `host` is what the listener was told to listen on; `failed` is told of a bug."""

    about = "a request of the API"

    def __init__(
        self,
        app: ASGIApp,
        *,
        secret: str | None,
        origins: Sequence[str],
        host: str,
        failed: Callable[[Exception], object],
    ) -> None:
        self._app = app
        self._secret = None if secret is None else secret.encode()
        self._origins = frozenset(origins)
        self._host = host
        self._failed = failed
        self._waiting = 0
        self._clients = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        try:
            await self._serve(scope, receive, send)
        except Exception as error:  # uvicorn answers with status 500, and tells nobody
            self._failed(error)
            raise

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = await self._refusal(scope, headers)
        if refusal is not None:
            await _refuse(scope, receive, send, *refusal)
            return
        allowed = headers.get("origin") if headers.get("origin") in self._origins else None
        if allowed is not None and scope.get("method") == "OPTIONS":
            await Response(status_code=HTTPStatus.NO_CONTENT, headers=_cors(allowed))(scope, receive, send)
            return
        self._clients += 1
        try:
            await self._app(scope, receive, send if allowed is None else _with_cors(send, allowed))
        except ClientDisconnect:  # who asked has left
            pass
        except Exception as error:  # it has been answered with status 500
            self._failed(error)
        finally:
            self._clients -= 1

    def cut(self) -> None:
        """The request is over."""

    async def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[HTTPStatus, str] | None:
        if self._clients >= CLIENTS:
            return HTTPStatus.SERVICE_UNAVAILABLE, "too many requests at a time"
        host = headers.get("host", "")
        if not self._is_ours(host):
            return HTTPStatus.FORBIDDEN, "the Host is no name of this API"
        origin = headers.get("origin")
        if origin is not None and origin not in self._origins and origin.partition("://")[2] != host:
            return HTTPStatus.FORBIDDEN, "a page of another origin may not use this API: [api] origins lists who may"
        if scope.get("method") == "OPTIONS" or self._secret is None or _is_page(scope):
            return None
        if hmac.compare_digest(_shown(scope, headers).encode(), self._secret):
            return None
        if self._waiting < WAITING:
            self._waiting += 1
            try:
                await asyncio.sleep(DELAY)
            finally:
                self._waiting -= 1
        return HTTPStatus.UNAUTHORIZED, "Unauthorized"

    def _is_ours(self, host: str) -> bool:
        try:
            name = parse_url(f"http://{host}/").host
        except NotAURL:
            return False
        if name in {"localhost", self._host}:
            return True
        try:
            ip_address(name)
        except NotAnAddress:
            return False
        return True


def _is_page(scope: Scope) -> bool:
    """Return True if the path is a file of the page, which holds no facts."""
    path: str = scope["path"]
    return scope["type"] == "http" and (path == "/ui" or path.startswith("/ui/"))


def _shown(scope: Scope, headers: dict[str, str]) -> str:
    kind, _, secret = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return secret.strip()
    if scope["type"] == "websocket":
        query: dict[str, list[str]] = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        return query.get("token", [""])[0]
    return ""


async def _refuse(scope: Scope, receive: Receive, send: Send, status: HTTPStatus, line: str) -> None:
    if scope["type"] == "websocket":
        await WebSocketClose(code=1008, reason=line)(scope, receive, send)
    else:
        await JSONResponse({"message": line}, status)(scope, receive, send)


def _cors(origin: str) -> dict[str, str]:
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": "Authorization, Content-Type",
        "Access-Control-Max-Age": "600",
        "Vary": "Origin",
    }


def _with_cors(send: Send, origin: str) -> Send:
    added = [(name.lower().encode(), value.encode()) for name, value in _cors(origin).items()]

    async def answer(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await send(message)

    return answer
