"""Servers as Clash writes them, own and of providers: the link of each, and the chains that `dialer-proxy` makes.

Other programs' servers come here too, once their keys are Clash's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tunflow.errors import LocalError
from tunflow.profiles.imports import keys
from tunflow.profiles.imports.draft import Draft
from tunflow.protocols.registry import clash_server


class ClashProxies:
    """The servers of one file. `dialer-proxy` may name one that comes later, so chains are made last."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._links: dict[str, str] = {}
        self._before: dict[str, str] = {}
        self._lines: dict[str, int | None] = {}
        self._places: dict[str, str] = {}
        self.own: list[str] = []
        """All that the file itself names, taken or not, in order."""
        self.kinds: dict[str, str] = {}
        """The type of each."""

    def read(self, entries: Iterable[tuple[dict[str, Any], str, int | None]]) -> None:
        """The file's own proxies, each with its place and line."""
        for proxy, place, line in entries:
            self.own.append(proxy["name"])
            self.take(proxy, place, line)

    def take(self, proxy: dict[str, Any], place: str, line: int | None, link: str | None = None) -> None:
        """One entry, which may be known by its `link`, or a line why it is not taken."""
        name, draft = proxy["name"], self._draft
        self.kinds[name] = str(proxy.get("type", "")).lower()
        self._places[name] = place
        try:
            if name in self._links:
                raise LocalError("the name is taken")
            draft.claim(name)
            if link is None:
                link, unread = server_of(proxy)
                self._check_keys(name, {key: proxy[key] for key in unread}, place)
        except LocalError as error:
            draft.lose(name, place, f"proxy {name!r}: {error}")
            return
        self._links[name], self._lines[name] = link, line
        if isinstance(before := proxy.get("dialer-proxy"), str) and before:
            self._before[name] = before

    def finish(self) -> None:
        """Hand the servers over, those behind others as chains."""
        for name, link in self._links.items():
            try:
                chain = [*self._way(name, ()), link]
                section = {"url": link} if len(chain) == 1 else {"chain": chain}
                self._draft.server(name, section, self._lines[name])
            except LocalError as error:
                self._draft.lose(name, self._places[name], f"proxy {name!r}: {error}")

    def _way(self, name: str, behind: tuple[str, ...]) -> list[str]:
        """The links in front of a server. Raises LocalError unless all are there."""
        before = self._before.get(name)
        if before is None or before == "DIRECT":
            return []
        if before in behind or before == name:
            raise LocalError(f"dialer-proxy goes in a circle: {' -> '.join((*behind, name, before))}")
        if before not in self._links:
            raise LocalError(f"dialer-proxy {before!r} is not a server that was taken: without it this is another one")
        return [*self._way(before, (*behind, name)), self._links[before]]

    def _check_keys(self, name: str, unread: dict[str, Any], place: str) -> None:
        """Say what is not done of an entry. Raises LocalError for what would make it another server."""
        known = keys.fates("clash", "proxies")
        for key, words, is_refused in keys.unspoken("clash", "proxies", unread):
            if key not in known and str(unread[key]).lower() in {"false", "none", ""}:
                continue
            if is_refused:
                raise LocalError(f"{key} is not supported" + (f": {words}" if key in known else ""))
            self._draft.tell(place, f"proxy {name!r}: {key}: {words}", is_lost=False)


def server_of(proxy: dict[str, Any]) -> tuple[str, list[str]]:
    """The link of one entry of `proxies`, and its keys that are not in it. Raises LocalError."""
    server, unread = clash_server(proxy)
    return server.to_link(), unread
