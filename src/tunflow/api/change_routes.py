"""The routes that change the tunnel for everybody, and tell what there is to change: its profile, its end, its filter.

An API without a secret is open to everybody on this machine: it tells, and changes nothing of that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tunflow.api.facts import TunnelFacts, Unanswerable
from tunflow.api.request_body import body_object
from tunflow.errors import LocalError, RemoteError
from tunflow.loop.thread_calls import ThreadCalls

if TYPE_CHECKING:
    from tunflow.api.switch import TunnelSwitch

_T = TypeVar("_T")


class ChangeRoutes:
    """`/tunnel` and `/filter`."""

    def __init__(self, facts: TunnelFacts, calls: ThreadCalls, has_secret: bool) -> None:
        """`has_secret`: whoever asks has shown it."""
        self._facts = facts
        self._calls = calls
        self._has_secret = has_secret
        self.switch: TunnelSwitch | None = None
        """What changes the tunnel; None for one that is not `up`'s."""

    def routes(self) -> list[Route]:
        """Those of an application."""
        return [
            Route("/tunnel", self._tunnel),
            Route("/tunnel", self._use_profile, methods=["PUT"]),
            Route("/tunnel", self._stop, methods=["DELETE"]),
            Route("/filter", self._filter),
            Route("/filter/allow", self._allow, methods=["POST"]),
        ]

    async def read_again(self) -> bool:
        """Return True if the profile was read again, as a dashboard's button wants, False where nobody may.

        Raises Unanswerable.
        """
        if self.switch is None or not self._has_secret:
            return False
        await self._through(self.switch.use(None))
        return True

    async def _ask(self, function: Callable[[], _T]) -> _T:
        return await asyncio.wrap_future(self._calls.call(function))

    async def _tunnel(self, _: Request) -> Response:
        if self.switch is None:
            profile = await self._ask(lambda: self._facts.profile)
            name = None if profile is None else profile.name or None
            rest = {"profiles": [], "servers": [], "kill_switch": False, "may_change": False, "is_up": False}
            return JSONResponse({"status": "connected", "profile": name, **rest})
        facts = await self._through(self.switch.status())
        return JSONResponse({**facts, "may_change": self._has_secret, "is_up": True})

    async def _filter(self, _: Request) -> Response:
        found = await self._ask(self._facts.filter)
        return JSONResponse({**found, "may_add": self._has_secret and found["add"] is not None})

    async def _use_profile(self, request: Request) -> Response:
        name = (await body_object(request)).get("profile", 0)
        if not isinstance(name, str | None):
            raise Unanswerable('the body is an object with the name of a "profile", or null for the same again')
        return JSONResponse({"notes": await self._through(self._require_switch().use(name))})

    async def _stop(self, _: Request) -> Response:
        self._require_switch().stop()
        return Response(status_code=HTTPStatus.NO_CONTENT)

    def _require_switch(self) -> TunnelSwitch:
        """Raises Unanswerable."""
        self._require_secret()
        if self.switch is None:
            raise Unanswerable("this is no tunnel of tunflow up: it ends with the command that it belongs to")
        return self.switch

    async def _through(self, asked: Future[_T]) -> _T:
        """What the tunnel answers. Raises Unanswerable."""
        try:
            return await asyncio.wrap_future(asked)
        except (LocalError, RemoteError) as error:
            raise Unanswerable(str(error)) from None

    async def _allow(self, request: Request) -> Response:
        self._require_secret()
        host = (await body_object(request)).get("host")
        if not isinstance(host, str):
            raise Unanswerable('the body is an object with a "host"')
        return JSONResponse(await self._ask(partial(self._facts.allow, host)))

    def _require_secret(self) -> None:
        """Raise Unanswerable where nobody showed one: what follows changes the tunnel for everybody."""
        if not self._has_secret:
            line = "this needs an API with a secret, else anybody here could: TUNFLOW_API_SECRET, or secret in [api]"
            raise Unanswerable(line, HTTPStatus.FORBIDDEN)
