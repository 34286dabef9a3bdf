"""A tunnel behind the API of dashboards (docs/dashboards.md)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import quote

from tunflow.errors import LocalError, RemoteError
from tunflow.screens.picture import Picture, ShownFlow, ShownGroup, ShownMember
from tunflow.single_values import json_value
from tunflow.urls import NotAURL, parse_url

PATIENCE = 40.0
"""Seconds for an answer: a test of many servers takes a while."""

LARGEST = 32 * 1024 * 1024
"""Bytes of an answer."""

_KINDS = {"Selector": "select", "URLTest": "url-test", "Fallback": "fallback", "LoadBalance": "load-balance"}


class APISource:
    """As `TunnelSource`. `address` is http://ADDRESS:PORT. Raises LocalError where it is none."""

    def __init__(self, address: str, secret: str | None = None) -> None:
        try:
            url = parse_url(address if "://" in address else f"http://{address}")
        except NotAURL as error:
            raise LocalError(f"--api {address}: {error}") from None
        if url.scheme not in {"http", "https"} or not url.host:
            raise LocalError(f"--api {address}: expected http://ADDRESS:PORT")
        self._is_secure = url.scheme == "https"
        self._host, self._port = url.host, url.port or (443 if self._is_secure else 80)
        self._headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
        self.address = f"{self._host}:{self._port}"

    def look(self) -> Picture:
        """As `TunnelSource.look`."""
        told, proxies = self._get("/connections"), self._get("/proxies").get("proxies", {})
        flows = tuple(_flow(each) for each in told.get("connections") or ())
        return Picture(
            self.address,
            int(told.get("uploadTotal", 0)),
            int(told.get("downloadTotal", 0)),
            int(told.get("memory", 0)),
            flows,
            _groups(proxies),
        )

    def choose(self, group: str, member: str) -> None:
        """As `TunnelSource.choose`."""
        self._do("PUT", f"/proxies/{quote(group, safe='')}", {"name": member})

    def measure(self, group: str) -> dict[str, int | None]:
        """As `TunnelSource.measure`."""
        is_group = bool(self._get(f"/proxies/{quote(group, safe='')}").get("all"))
        kind, timeout = ("group" if is_group else "proxies"), 20_000
        found = self._get(f"/{kind}/{quote(group, safe='')}/delay?timeout={timeout}")
        return {str(name): int(delay) for name, delay in found.items()} if is_group else {group: int(found["delay"])}

    def end(self, number: str) -> None:
        """As `TunnelSource.end`."""
        self._do("DELETE", f"/connections/{quote(number, safe='')}")

    def lines(self) -> Iterator[str]:
        """As `TunnelSource.lines`."""
        answer = self._ask("GET", "/logs?level=debug", patience=None)
        with answer:
            try:
                while line := answer.readline(LARGEST):
                    yield str(json_value(line).get("payload", ""))
            except (OSError, ValueError, HTTPException) as error:
                raise RemoteError(f"{self.address}: {error}") from None

    def _get(self, path: str) -> dict[str, Any]:
        return self._do("GET", path)

    def _do(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self._ask(method, path, body)
        with answer:
            try:
                text = answer.read(LARGEST)
                found = json_value(text) if text else {}
            except (OSError, ValueError, HTTPException) as error:
                raise RemoteError(f"{self.address}: no answer that can be read: {error}") from None
        if not isinstance(found, dict):
            raise RemoteError(f"{self.address}: no answer of tunflow's API")
        if answer.status == 401:
            raise LocalError(f"{self.address} asks for its secret: set TUNFLOW_API_SECRET")
        if answer.status >= 400:
            raise RemoteError(str(found.get("message", answer.status)))
        return found

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, patience: float | None = PATIENCE
    ) -> HTTPResponse:
        kind = HTTPSConnection if self._is_secure else HTTPConnection
        connection = kind(self._host, self._port, timeout=patience)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self._headers)
            return connection.getresponse()
        except (OSError, HTTPException) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise RemoteError(f"{self.address}: {reason}") from None


def _groups(proxies: dict[str, dict[str, Any]]) -> tuple[ShownGroup, ...]:
    """The groups, without the one of all; where there are none, the one way out."""
    groups = [each for each in proxies.values() if each.get("all") and each["name"] != "GLOBAL"]
    if not groups:
        groups = [each | {"all": [each["name"]], "now": each["name"]} for each in proxies.values()]
    return tuple(
        ShownGroup(
            each["name"],
            _KINDS.get(each["type"], each["type"]),
            each.get("now", ""),
            tuple(_member(name, proxies.get(name, {})) for name in each["all"]),
        )
        for each in groups
    )


def _member(name: str, facts: dict[str, Any]) -> ShownMember:
    history = facts.get("history") or [{"delay": 0}]
    return ShownMember(name, history[-1]["delay"] or None, bool(facts.get("alive", True)))


def _flow(facts: dict[str, Any]) -> ShownFlow:
    about, chains = facts["metadata"], facts["chains"]
    name = about["host"] or about["destinationIP"]
    rule = f"{facts['rule']} {facts['rulePayload']}".strip()
    return ShownFlow(
        str(facts["id"]), about["network"], about["process"], f"{name}:{about['destinationPort']}", chains[0], rule,
        tuple(reversed(chains)), facts["upload"], facts["download"], facts["start"],
        f"{about['sourceIP']}:{about['sourcePort']}", about["destinationIP"], about["processPath"],
    )  # fmt: skip
