"""Clash's `proxy-providers`: lists of servers in files, at addresses, or in the configuration itself."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

from tunflow.errors import BadPacket, LocalError, RemoteError
from tunflow.numbers import NotANumber, whole_number
from tunflow.profiles.imports.clash_proxies import ClashProxies
from tunflow.profiles.imports.clash_source import ClashSource, is_true
from tunflow.profiles.imports.provided_servers import ProvidedServer, entries_of, is_chosen, renamed

LATER = "its servers come when tunflow rules update, or a tunnel that is up, fetches them"


class ClashProviders:
    """The providers of one file; `servers` has the names of each, those that were lost among them."""

    def __init__(self, source: ClashSource, proxies: ClashProxies) -> None:
        self._source = source
        self._proxies = proxies
        self.servers: dict[str, list[str]] = {}
        self._checks: dict[str, dict[str, Any]] = {}
        self._lists: dict[str, dict[str, Any]] = {}
        """What a tunnel needs to fetch each again, of those that are fetched."""

    def checks_of(self, names: list[str]) -> dict[str, Any]:
        """How the servers of providers are asked, for groups that do not say: as the first of them has it."""
        return next((self._checks[name] for name in names if name in self._checks), {})

    def read(self, providers: dict[str, Any]) -> None:
        """All of them; of one that cannot be read a line is told, and groups that use it lose a member."""
        for name, provider in providers.items():
            try:
                if not isinstance(provider, dict):
                    raise LocalError("must be a mapping")
                self._source.tell_keys("proxy-providers", provider, f"provider {name!r}: ", "proxy-providers", name)
                self._read_check(name, provider.get("health-check"))
                self.servers[name] = self._provider(name, provider)
                self._note_list(name, provider)
            except (LocalError, RemoteError, BadPacket) as error:
                self.servers[name] = []
                later = f"; {LATER}" if self._comes_later(name, provider) else ""
                self._source.draft.lose(
                    provider_name(name), self._source.at("proxy-providers", name), f"provider {name!r}: {error}{later}"
                )

    def _comes_later(self, name: str, provider: Any) -> bool:
        """Have a provider's list fetched again that could not be had now. Return True if there is where to."""
        if not isinstance(provider, dict) or provider.get("type") != "http" or not isinstance(provider.get("url"), str):
            return False
        override = provider.get("override")
        try:
            is_chosen("", "", provider)
            renamed("", override if isinstance(override, dict) else {})
        except LocalError:
            return False
        self._note_list(name, provider)
        self._lists[name]["fetched"] = now()
        return True

    def _read_check(self, name: str, check: Any) -> None:
        """`health-check`, which counts where it is enabled."""
        if not isinstance(check, dict):
            return
        key = ("proxy-providers", name, "health-check")
        self._source.tell_keys("health-check", check, f"provider {name!r}: health-check.", *key)
        if is_true(check.get("enable")):
            self._checks[name] = {key: value for key, value in check.items() if key != "enable"}

    def _note_list(self, name: str, provider: dict[str, Any]) -> None:
        """Have the profile know where a provider's servers come from."""
        url = provider.get("url")
        if provider.get("type") != "http" or not isinstance(url, str):
            return
        override = provider.get("override")
        override = override if isinstance(override, dict) else {}
        made: dict[str, Any] = {"url": url}
        if seconds := number_of(provider.get("interval")):
            made["interval"] = float(min(31_536_000, max(60, seconds)))
        chosen = {"filter": "filter", "exclude-filter": "exclude_filter", "exclude-type": "exclude_type"}
        made |= {ours: provider[theirs] for theirs, ours in chosen.items() if isinstance(provider.get(theirs), str)}
        more = {"additional-prefix": "prefix", "additional-suffix": "suffix", "dialer-proxy": "through"}
        made |= {ours: str(override[theirs]) for theirs, ours in more.items() if override.get(theirs)}
        changes = override.get("proxy-name")
        if rename := {
            each["pattern"]: str(each.get("target") or "")
            for each in (changes if isinstance(changes, list) else ())
            if isinstance(each, dict) and isinstance(each.get("pattern"), str)
        }:
            made["rename"] = rename
        if self.servers[name]:
            made["fetched"] = now()
        self._lists[name] = made

    def finish(self) -> None:
        """Hand the lists over, with the servers that were taken of each."""
        draft = self._source.draft
        for name, section in self._lists.items():
            taken = [each for each in dict.fromkeys(self.servers[name]) if each in draft.servers]
            draft.server_lists[name] = {**section, "servers": taken} if taken else section
            if not self.servers[name] and "fetched" not in section:
                draft.promised.add(provider_name(name))

    def fetched(self, names: list[str]) -> list[str]:
        """Those of some providers that a tunnel fetches again."""
        return [name for name in names if name in self._lists]

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
            made = {**values, "name": renamed(values["name"], override)}
            if isinstance(override.get("dialer-proxy"), str):
                made["dialer-proxy"] = override["dialer-proxy"]
            names.append(made["name"])
            self._proxies.take(made, entry.place, entry.line, entry.link)
        return names

    def _entries(self, name: str, provider: dict[str, Any]) -> list[ProvidedServer]:
        """A provider's entries with their places. Raises LocalError, RemoteError or BadPacket."""
        key = ("proxy-providers", name)
        kind = str(provider.get("type"))
        if kind == "inline":
            payload = provider.get("payload")
            return [
                ProvidedServer(
                    entry, self._source.at(*key, "payload", number), self._source.line(*key, "payload", number)
                )
                for number, entry in enumerate(payload if isinstance(payload, list) else ())
                if isinstance(entry, dict) and isinstance(entry.get("name"), str)
            ]
        found = self._content(provider, kind)
        if found is None:
            return []
        entries = entries_of(*found)
        for each in entries.skipped:
            self._source.draft.tell(each.place, f"provider {name!r}: {each.reason}")
        return entries.servers

    def _content(self, provider: dict[str, Any], kind: str) -> tuple[bytes, str] | None:
        """What a provider's list holds, and where it is; None for one that is fetched later."""
        url, path = provider.get("url"), provider.get("path")
        if kind not in {"http", "file"}:
            raise LocalError(f"type {kind} is not supported; http, file and inline are")
        if kind == "http" and isinstance(url, str) and self._source.fetch is not None:
            return self._source.fetch(url), url.partition("://")[2].partition("/")[0]
        if not isinstance(path, str):
            if kind == "http" and isinstance(url, str):
                return None
            raise LocalError("path is missing")
        file = self._source.beside(path)
        try:
            return file.read_bytes(), str(file)
        except OSError as error:
            if kind == "http" and isinstance(url, str):
                return None
            raise LocalError(f"cannot read {file}: {error.strerror}") from None


def now() -> str:
    """The time of day (ISO 8601), as lists have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def provider_name(name: str) -> str:
    """What stands for a provider's servers among a group's members: no server is called so."""
    return f"provider {name}"


def number_of(value: Any) -> int | None:
    """The number that YAML's text says; None for what is none."""
    try:
        return whole_number(str(value), sys.maxsize)
    except NotANumber:
        return None
