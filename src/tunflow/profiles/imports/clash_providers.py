"""Clash's `proxy-providers`: lists of servers in files, at addresses, or in the configuration itself."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from tunflow.errors import BadPacket, LocalError, RemoteError
from tunflow.profiles.imports.clash_proxies import ClashProxies
from tunflow.profiles.imports.clash_source import ClashSource
from tunflow.profiles.imports.subscription import server_list_untrusted
from tunflow.profiles.imports.yaml_lines import YAMLDocument


class ClashProviders:
    """The providers of one file; `servers` has the names of each, those that were lost among them."""

    def __init__(self, source: ClashSource, proxies: ClashProxies) -> None:
        self._source = source
        self._proxies = proxies
        self.servers: dict[str, list[str]] = {}

    def read(self, providers: dict[str, Any]) -> None:
        """All of them; of one that cannot be read a line is told, and groups that use it lose a member."""
        for name, provider in providers.items():
            try:
                if not isinstance(provider, dict):
                    raise LocalError("must be a mapping")
                self._source.tell_keys("proxy-providers", provider, f"provider {name!r}: ", "proxy-providers", name)
                self.servers[name] = self._provider(name, provider)
            except (LocalError, RemoteError, BadPacket) as error:
                self.servers[name] = []
                self._source.draft.lose(
                    provider_name(name), self._source.at("proxy-providers", name), f"provider {name!r}: {error}"
                )

    def _provider(self, name: str, provider: dict[str, Any]) -> list[str]:
        """The names of a provider's servers. Raises LocalError, RemoteError or BadPacket."""
        override = provider.get("override")
        override = override if isinstance(override, dict) else {}
        label = f"provider {name!r}: override."
        self._source.tell_keys("override", override, label, "proxy-providers", name, "override")
        names = []
        for entry in self._entries(name, provider):
            values = entry.values
            if not is_chosen(values["name"], str(values.get("type", "")), provider):
                continue
            made = {**values, "name": _renamed(values["name"], override)}
            if isinstance(override.get("dialer-proxy"), str):
                made["dialer-proxy"] = override["dialer-proxy"]
            names.append(made["name"])
            self._proxies.take(made, entry.place, entry.line, entry.link)
        return names

    def _entries(self, name: str, provider: dict[str, Any]) -> list[Entry]:
        """A provider's entries with their places. Raises LocalError, RemoteError or BadPacket."""
        key = ("proxy-providers", name)
        kind = provider.get("type")
        if kind == "inline":
            payload = provider.get("payload")
            return [
                Entry(entry, self._source.at(*key, "payload", number), self._source.line(*key, "payload", number))
                for number, entry in enumerate(payload if isinstance(payload, list) else ())
                if isinstance(entry, dict) and isinstance(entry.get("name"), str)
            ]
        content, place = self._content(provider, kind)
        return entries_of(content, place)

    def _content(self, provider: dict[str, Any], kind: Any) -> tuple[bytes, str]:
        url, path = provider.get("url"), provider.get("path")
        if kind not in {"http", "file"}:
            raise LocalError(f"type {kind} is not supported; http, file and inline are")
        if kind == "http" and isinstance(url, str) and self._source.fetch is not None:
            return self._source.fetch(url), url.partition("://")[2].partition("/")[0]
        if not isinstance(path, str):
            raise LocalError("its servers are fetched by tunflow profile import" if url else "path is missing")
        file = self._source.beside(path)
        try:
            return file.read_bytes(), str(file)
        except OSError as error:
            raise LocalError(f"cannot read {file}: {error.strerror}") from None


def provider_name(name: str) -> str:
    """What stands for a provider's servers among a group's members: no server is called so."""
    return f"provider {name}"


class Entry(NamedTuple):
    """A server of a list: as Clash has it, or as a link."""

    values: dict[str, Any]
    place: str
    line: int | None = None
    link: str | None = None


def entries_of(content: bytes, place: str) -> list[Entry]:
    """The entries of a list of servers: Clash's YAML, or links. Raises LocalError or BadPacket."""
    if re.search(rb"^proxies[ \t]*:", content, re.MULTILINE):
        document = YAMLDocument(content.decode("utf-8-sig", "replace"), place)
        proxies = document.data.get("proxies") if isinstance(document.data, dict) else None
        return [
            Entry(entry, document.at("proxies", number))
            for number, entry in enumerate(proxies if isinstance(proxies, list) else ())
            if isinstance(entry, dict) and isinstance(entry.get("name"), str)
        ]
    found = server_list_untrusted(content)
    return [
        Entry({"name": name, "type": link.partition("://")[0]}, place, None, link) for name, link in found.links.items()
    ]


def is_chosen(name: str, kind: str, chooser: dict[str, Any]) -> bool:
    """Whether `filter`, `exclude-filter` and `exclude-type` let a server in. Raises LocalError."""
    wanted, unwanted = chooser.get("filter"), chooser.get("exclude-filter")
    kinds = {each.strip().lower() for each in str(chooser.get("exclude-type") or "").split("|")}
    if isinstance(wanted, str) and wanted and not _found(wanted, name):
        return False
    if isinstance(unwanted, str) and unwanted and _found(unwanted, name):
        return False
    return _CLASH_KINDS.get(kind.lower(), kind.lower()) not in kinds and kind.lower() not in kinds


_CLASH_KINDS = {"ss": "shadowsocks", "ssr": "shadowsocksr"}
"""What `exclude-type` calls them."""


def _found(expressions: str, name: str) -> bool:
    """Whether one of several expressions with ` between is found in a name. Raises LocalError."""
    try:
        return any(re.search(each, name) for each in expressions.split("`"))
    except (re.error, OverflowError, RecursionError) as error:
        raise LocalError(f"{expressions!r} is not a regular expression: {error}") from None


def _renamed(name: str, override: dict[str, Any]) -> str:
    changes = override.get("proxy-name")
    for change in changes if isinstance(changes, list) else ():
        if isinstance(change, dict) and isinstance(change.get("pattern"), str):
            try:
                name = re.sub(change["pattern"], str(change.get("target") or ""), name)
            except (re.error, OverflowError, RecursionError, IndexError) as error:
                raise LocalError(f"{change['pattern']!r} is not a regular expression: {error}") from None
    return f"{override.get('additional-prefix') or ''}{name}{override.get('additional-suffix') or ''}"
