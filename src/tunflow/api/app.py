"""The routes: each asks the loop's thread for facts, and answers as Clash's API does.

A stream (`/traffic`, `/memory`, `/connections`, `/logs`) is a WebSocket, or lines of JSON without an end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Match, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tunflow.api.change_routes import ChangeRoutes
from tunflow.api.facts import TunnelFacts, Unanswerable
from tunflow.api.log_lines import LEVELS, LogLines
from tunflow.api.page_files import PageFiles
from tunflow.api.request_body import body_object
from tunflow.errors import BadPacket
from tunflow.loop.thread_calls import ThreadCalls
from tunflow.numbers import NotANumber, whole_number
from tunflow.urls import NotAURL, parse_url
from tunflow.version import __version__

if TYPE_CHECKING:  # what fetches lists is there where there are some
    from tunflow.tunnel.rule_update import UpdateOutcome

LONGEST_DELAY = 30_000
"""Milliseconds that a delay may be waited for."""

LONGEST_QUERY = 15.0
"""Seconds that an answer about a name may be waited for."""

LONGEST_FETCH = 60.0
"""Seconds that a list may be waited for."""

PAGE = Path(__file__).parent / "page"

DESCRIPTION = Path(__file__).parent / "openapi.json"
"""What is below, for programs: OpenAPI 3.1."""

METRICS = "text/plain; version=0.0.4; charset=utf-8"
"""Of Prometheus' text format."""

REFUSED = {
    ("POST", "/cache/fakeip/flush"): "programs hold fake addresses: they are kept, also over a restart",
    ("PATCH", "/rules/disable"): "rules are changed in the profile, and used after tunflow reload",
    ("POST", "/configs/geo"): "countries and lists are fetched by tunflow rules update",
    ("POST", "/upgrade"): "tunflow is upgraded by what installed it",
    ("POST", "/upgrade/ui"): "the page comes with tunflow; [api] ui names the folder of another",
    ("POST", "/restart"): "tunflow reload reads the profile again, tunflow down and up begin anew",
}
"""What dashboards offer and nobody may do here, with what to do instead."""

_T = TypeVar("_T")


class API:
    """The routes over `facts`, which are asked by `calls`. `ui` is a folder with another dashboard's files."""

    def __init__(
        self, facts: TunnelFacts, calls: ThreadCalls, log: LogLines, ui: Path | None = None, *, has_secret: bool = False
    ) -> None:
        """`has_secret`: whoever asks has shown it. Without one anybody on this machine may ask, and some is refused."""
        self.changes = ChangeRoutes(facts, calls, has_secret)
        self._facts = facts
        self._calls = calls
        self._log = log
        routes = [
            Route("/", self._hello),
            Route("/version", self._version),
            Route("/openapi.json", lambda _: FileResponse(DESCRIPTION)),
            Route("/configs", self._configs),
            Route("/configs", self._set_configs, methods=["PATCH", "PUT"]),
            Route("/proxies", self._proxies),
            Route("/proxies/{name:path}", self._release, methods=["DELETE"]),
            Route("/proxies/{name:path}/delay", self._delay),
            Route("/proxies/{name:path}", self._proxy),
            Route("/proxies/{name:path}", self._select, methods=["PUT"]),
            Route("/group", self._groups),
            Route("/group/{name:path}/delay", self._group_delay),
            Route("/group/{name:path}", self._proxy),
            Route("/rules", self._rules),
            Route("/connections", self._connections),
            Route("/connections", self._cut_all, methods=["DELETE"]),
            Route("/connections/{number}", self._cut, methods=["DELETE"]),
            Route("/metrics", self._metrics),
            Route("/traffic", self._lines(self._traffic)),
            Route("/memory", self._lines(self._memory)),
            Route("/logs", self._logs),
            Route("/providers/proxies", self._proxy_providers),
            Route("/providers/proxies/{name}", self._proxy_provider),
            Route("/providers/proxies/{name}", self._renew_servers, methods=["PUT"]),
            Route("/providers/proxies/{provider}/healthcheck", self._check_provider),
            Route("/providers/proxies/{provider}/{name:path}/healthcheck", self._delay),
            Route("/providers/proxies/{provider}/{name:path}", self._proxy),
            Route("/providers/rules", self._rule_providers),
            Route("/providers/rules/{name}", self._renew_rules, methods=["PUT"]),
            *(_refused(method, path, line) for (method, path), line in REFUSED.items()),
            *self.changes.routes(),
            Route("/dns/query", self._query),
            Route("/cache/dns/flush", self._flush_answers, methods=["POST"]),
            WebSocketRoute("/traffic", self._socket(self._traffic)),
            WebSocketRoute("/memory", self._socket(self._memory)),
            WebSocketRoute("/connections", self._socket(self._snapshots)),
            WebSocketRoute("/logs", self._socket(self._log_records)),
            Route("/ui", lambda _: RedirectResponse("/ui/")),
            Route("/ui/{path:path}", PageFiles(ui or PAGE).answer),
        ]
        self.app = Starlette(routes=routes, exception_handlers={Unanswerable: _unanswerable, HTTPException: _no_route})

    async def _ask(self, function: Callable[[], _T]) -> _T:
        return await asyncio.wrap_future(self._calls.call(function))

    # TunnelFacts.

    async def _hello(self, _: Request) -> Response:
        return JSONResponse({"hello": "tunflow"})

    async def _version(self, _: Request) -> Response:
        return JSONResponse({"version": f"tunflow {__version__}", "meta": True, "premium": True})

    async def _configs(self, _: Request) -> Response:
        ports = dict.fromkeys(("port", "socks-port", "redir-port", "tproxy-port", "mixed-port"), 0)
        port = await self._ask(lambda: self._facts.port)
        ports["mixed-port"] = port
        tun = {"enable": port == 0, "stack": "tunflow", "device": ""}
        rest = {"allow-lan": False, "mode": "rule", "log-level": "info", "ipv6": True, "tun": tun}
        return JSONResponse({**ports, **rest})

    async def _set_configs(self, request: Request) -> Response:
        given = await body_object(request)
        is_empty = not given.get("path") and not given.get("payload")
        if request.method == "PUT" and is_empty and await self.changes.read_again():
            return Response(status_code=HTTPStatus.NO_CONTENT)
        if refused := sorted(key for key, value in given.items() if (key, value) != ("mode", "rule")):
            line = f"{', '.join(refused)}: a tunnel is changed by its profile and tunflow reload; mode is rule"
            raise Unanswerable(line)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _proxies(self, _: Request) -> Response:
        return JSONResponse({"proxies": await self._ask(self._facts.proxies)})

    async def _groups(self, _: Request) -> Response:
        proxies = await self._ask(self._facts.proxies)
        return JSONResponse({"proxies": [each for each in proxies.values() if each["all"]]})

    async def _proxy(self, request: Request) -> Response:
        return JSONResponse(await self._ask(partial(self._facts.proxy, request.path_params["name"])))

    async def _rules(self, _: Request) -> Response:
        return JSONResponse({"rules": await self._ask(self._facts.rules)})

    async def _connections(self, _: Request) -> Response:
        return Response(await self._ask(self._facts.connections), media_type="application/json")

    async def _metrics(self, _: Request) -> Response:
        return Response(await self._ask(self._facts.metrics), media_type=METRICS)

    async def _proxy_providers(self, _: Request) -> Response:
        return JSONResponse({"providers": await self._known_providers()})

    async def _proxy_provider(self, request: Request) -> Response:
        return JSONResponse(await self._provider(request.path_params["name"]))

    async def _known_providers(self) -> dict[str, dict[str, Any]]:
        from tunflow.api.providers import proxy_providers  # noqa: PLC0415 - for dashboards that show it

        profile, proxies = await self._ask(lambda: (self._facts.profile, self._facts.proxies()))
        return await asyncio.to_thread(proxy_providers, profile, proxies)

    async def _provider(self, name: str) -> dict[str, Any]:
        found = (await self._known_providers()).get(name)
        if found is None:
            raise Unanswerable(f"no provider is called {name}", HTTPStatus.NOT_FOUND)
        return found

    async def _rule_providers(self, _: Request) -> Response:
        from tunflow.api.providers import rule_providers  # noqa: PLC0415 - for dashboards that show it

        profile = await self._ask(lambda: self._facts.profile)
        return JSONResponse({"providers": await asyncio.to_thread(rule_providers, profile)})

    async def _query(self, request: Request) -> Response:
        from tunflow.api.dns_json import answer_untrusted  # noqa: PLC0415 - for who looks a name up

        asked = request.query_params
        result: Future[bytes | None] = Future()

        def done(message: bytes | None) -> None:
            if not result.done():
                result.set_result(message)

        await self._ask(partial(self._facts.query, asked.get("name", ""), asked.get("type", "A"), done))
        try:
            message = await asyncio.wait_for(asyncio.wrap_future(result), LONGEST_QUERY)
        except TimeoutError:
            message = None
        if message is None:
            raise Unanswerable("no resolver answers", HTTPStatus.GATEWAY_TIMEOUT)
        try:
            return JSONResponse(answer_untrusted(message))
        except BadPacket as error:
            raise Unanswerable(str(error), HTTPStatus.BAD_GATEWAY) from None

    # Deeds.

    async def _select(self, request: Request) -> Response:
        member = (await body_object(request)).get("name")
        if not isinstance(member, str):
            raise Unanswerable('the body is an object with the "name" of a member')
        await self._ask(partial(self._facts.select, request.path_params["name"], member))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _renew_servers(self, request: Request) -> Response:
        name = (await self._provider(request.path_params["name"]))["name"]
        profile = await self._ask(lambda: self._facts.profile)
        if profile is None or name not in profile.server_lists:
            raise Unanswerable(f"servers are fetched by tunflow profile update {name}, and used after tunflow reload")
        return await self._fetch(f"server list {name}")

    async def _renew_rules(self, request: Request) -> Response:
        name = request.path_params["name"]
        profile = await self._ask(lambda: self._facts.profile)
        if profile is None or name not in profile.rule_sets:
            raise Unanswerable(f"no rule set is called {name}", HTTPStatus.NOT_FOUND)
        return await self._fetch(f"rule set {name}")

    async def _fetch(self, name: str) -> Response:
        """Have a list fetched again."""
        result: Future[UpdateOutcome] = Future()

        def done(outcome: UpdateOutcome) -> None:
            if not result.done():
                result.set_result(outcome)

        await self._ask(partial(self._facts.fetch, name, done))
        try:
            outcome = await asyncio.wait_for(asyncio.wrap_future(result), LONGEST_FETCH)
        except TimeoutError:
            raise Unanswerable(f"{name} is still being fetched", HTTPStatus.GATEWAY_TIMEOUT) from None
        if outcome.state == "failed":
            raise Unanswerable(f"{name} stays as it was: {outcome.reason}", HTTPStatus.SERVICE_UNAVAILABLE)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _check_provider(self, request: Request) -> Response:
        servers = [each["name"] for each in (await self._provider(request.path_params["provider"]))["proxies"]]
        url, patience = _check_of(request)
        asked = [self._measure(name, url, patience) for name in servers]
        found: dict[str, float | None] = {}
        for delays in await asyncio.gather(*asked):
            found |= delays
        return JSONResponse(_milliseconds(found))

    async def _flush_answers(self, _: Request) -> Response:
        await self._ask(self._facts.forget_answers)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _release(self, _: Request) -> Response:
        raise Unanswerable("a group of the type select keeps what is chosen, the others choose by themselves")

    async def _cut_all(self, _: Request) -> Response:
        await self._ask(self._facts.cut)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _cut(self, request: Request) -> Response:
        number = _number(request.path_params["number"], "a connection's id")
        if not await self._ask(partial(self._facts.cut, number)):
            raise Unanswerable("no such connection", HTTPStatus.NOT_FOUND)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _delay(self, request: Request) -> Response:
        delays = await self._measure(request.path_params["name"], *_check_of(request))
        found = [delay for delay in delays.values() if delay is not None]
        if not found:
            raise Unanswerable("no answer", HTTPStatus.SERVICE_UNAVAILABLE)
        return JSONResponse({"delay": round(min(found) * 1000) or 1})

    async def _group_delay(self, request: Request) -> Response:
        return JSONResponse(_milliseconds(await self._measure(request.path_params["name"], *_check_of(request))))

    async def _measure(self, name: str, url: str | None, patience: float) -> dict[str, float | None]:
        result: Future[dict[str, float | None]] = Future()

        def done(delays: dict[str, float | None]) -> None:
            if not result.done():
                result.set_result(delays)

        await self._ask(partial(self._facts.measure, name, url, done))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(result), patience)
        except TimeoutError:
            raise Unanswerable("Timeout", HTTPStatus.GATEWAY_TIMEOUT) from None

    # Streams.

    async def _traffic(self, _: Any) -> AsyncIterator[str]:
        before = await self._ask(self._facts.totals)
        while True:
            await asyncio.sleep(1)
            now = await self._ask(self._facts.totals)
            yield _json({"up": now[0] - before[0], "down": now[1] - before[1], "upTotal": now[0], "downTotal": now[1]})
            before = now

    async def _memory(self, _: Any) -> AsyncIterator[str]:
        while True:
            yield _json({"inuse": await self._ask(self._facts.memory), "oslimit": 0})
            await asyncio.sleep(1)

    async def _snapshots(self, asker: Any) -> AsyncIterator[str]:
        interval = _number(asker.query_params.get("interval", "1000"), "interval, in milliseconds")
        while True:
            yield await self._ask(self._facts.connections)
            await asyncio.sleep(max(interval, 100) / 1000)

    async def _log_records(self, asker: Any) -> AsyncIterator[str]:
        level = asker.query_params.get("level", "info")
        if level not in LEVELS:
            raise Unanswerable(f"level: one of {', '.join(LEVELS)}")
        async for record in self._log.follow(level):
            yield _json(record)

    async def _logs(self, request: Request) -> Response:
        level = request.query_params.get("level", "info")
        if level not in LEVELS:
            raise Unanswerable(f"level: one of {', '.join(LEVELS)}")
        answer: Response = await self._lines(self._log_records)(request)
        return answer

    def _lines(self, source: Callable[[Any], AsyncIterator[str]]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            async def lines() -> AsyncIterator[str]:
                async for each in source(request):
                    yield each + "\n"

            return StreamingResponse(lines(), media_type="application/json")

        return answer

    def _socket(self, source: Callable[[Any], AsyncIterator[str]]) -> Callable[[WebSocket], Any]:
        async def answer(socket: WebSocket) -> None:
            await socket.accept()
            heard = asyncio.create_task(_until_left(socket))
            try:
                async for each in source(socket):
                    if heard.done():
                        return
                    await asyncio.wait_for(socket.send_text(each), 10)
            except Unanswerable as error:
                await socket.close(1008, str(error))
            except (TimeoutError, WebSocketDisconnect, RuntimeError):
                pass  # it left, or does not read
            finally:
                heard.cancel()

        return answer


def _json(facts: dict[str, Any]) -> str:
    return json.dumps(facts, ensure_ascii=False)


def _refused(method: str, path: str, line: str) -> Route:
    async def refuse(_: Request) -> Response:
        raise Unanswerable(line)

    return Route(path, refuse, methods=[method])


async def _until_left(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def _check_of(request: Request) -> tuple[str | None, float]:
    """What servers are asked for (None: the usual), and for how many seconds they are waited for. Raises Unanswerable.

    A check reads an answer's first line, which TLS would hide: an https:// address is as good as none.
    """
    url = request.query_params.get("url") or None
    if url is not None:
        try:
            url = url if parse_url(url).scheme == "http" else None
        except NotAURL as error:
            raise Unanswerable(f"url: {error}") from None
    patience = _number(request.query_params.get("timeout", "5000"), "timeout, in milliseconds")
    return url, min(patience, LONGEST_DELAY) / 1000


def _milliseconds(delays: dict[str, float | None]) -> dict[str, int]:
    return {name: round(delay * 1000) or 1 for name, delay in delays.items() if delay is not None}


def _number(text: str, what: str) -> int:
    try:
        return whole_number(text, 1 << 53)
    except NotANumber:
        raise Unanswerable(f"{what}: expected a number") from None


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods(request))
    return JSONResponse({"message": error.detail}, error.status_code, headers)


def _methods(request: Request) -> list[str]:
    """What may be done with a path: the routes of one path have a method each."""
    fits = (
        each for each in request.app.routes if isinstance(each, Route) and each.matches(request.scope)[0] != Match.NONE
    )
    return sorted({method for route in fits for method in route.methods or ()})


async def _unanswerable(_: Request, error: Exception) -> Response:
    assert isinstance(error, Unanswerable)
    return JSONResponse({"message": str(error)}, error.status)
