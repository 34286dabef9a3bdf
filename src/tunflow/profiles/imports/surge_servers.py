"""Surge's `[Proxy]` and `[Proxy Group]`: servers as Clash would write them, groups as ours."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

from tunflow.errors import BadPacket, LocalError, RemoteError
from tunflow.numbers import NotANumber, whole_number
from tunflow.profiles.imports import keys
from tunflow.profiles.imports.clash_proxies import ClashProxies
from tunflow.profiles.imports.draft import Draft
from tunflow.profiles.imports.provided_servers import entries_of
from tunflow.profiles.imports.surge_lines import ConfLine, fields, name_and_value, split_options
from tunflow.rules.targets import BUILT_IN, DIRECT, REJECT, REJECT_DROP

SAME = {
    "REJECT-NO-DROP": REJECT, "REJECT-TINYGIF": REJECT, "REJECT-200": REJECT, "REJECT-IMG": REJECT,
    "REJECT-DICT": REJECT, "REJECT-ARRAY": REJECT, "DIRECT": DIRECT, "REJECT": REJECT, "REJECT-DROP": REJECT_DROP,
}  # fmt: skip
"""Targets by another name, in any case."""
_WITHOUT_SERVER = {"direct": "direct", "reject": "reject", "reject-tinygif": "reject", "reject-drop": "reject"}
_SIGNS_IN = {"http", "https", "socks5"}
_KINDS = {
    "select": "select", "url-test": "url-test", "fallback": "fallback", "load-balance": "load-balance",
    "smart": "url-test",
}  # fmt: skip
_BY_NETWORK = {"subnet", "ssid"}
_CIPHERS = {None: "aes-128-gcm", "chacha20-ietf-poly1305": "chacha20-poly1305"}
_TRUE = {"true", "1", "yes", "on"}


def target(name: str) -> str:
    """A target as we call it."""
    return SAME.get(name.upper(), name)


class SurgeServers:
    """Servers and groups of one file."""

    def __init__(
        self, draft: Draft, read: Callable[[str], tuple[bytes, str]], test_url: str | None, place: Callable[[int], str]
    ) -> None:
        """`read` gives what is at an address or in a file beside, with its place; it raises LocalError, RemoteError."""
        self._draft = draft
        self._read = read
        self._test_url = test_url
        self._place = place
        self._proxies = ClashProxies(draft)
        self._groups: dict[str, tuple[ConfLine, str, list[str], dict[str, str]]] = {}

    def read(self, proxies: list[ConfLine], groups: list[ConfLine]) -> None:
        """All of them."""
        for line in proxies:
            name, value = name_and_value(line.text)
            plain, options = split_options(fields(value))
            if name in BUILT_IN and plain and target(plain[0]) == name:
                continue  # it is what it says
            try:
                entry = self._entry(name, plain, options, line)
            except LocalError as error:
                self._draft.lose(name, self._place(line.number), f"proxy {name!r}: {error}")
                continue
            self._proxies.own.append(name)
            self._proxies.take(entry, self._place(line.number), line.number)
        for line in groups:
            name, value = name_and_value(line.text)
            plain, options = split_options(fields(value))
            kind = plain.pop(0).lower() if plain else ""
            self._groups[name] = (line, kind, [target(each) for each in plain], options)
        outside = {name: self._outside(name) for name, group in self._groups.items() if "policy-path" in group[3]}
        self._proxies.finish()
        for name, group in self._groups.items():
            try:
                self._group(name, group, outside.get(name, []))
            except LocalError as error:
                self._draft.lose(name, self._place(group[0].number), f"group {name!r}: {error}")

    # Servers.

    def _entry(self, name: str, plain: list[str], options: dict[str, str], line: ConfLine) -> dict[str, Any]:
        """A server as Clash has it. Raises LocalError for what would be another server here."""
        if not plain:
            raise LocalError("reads NAME = TYPE, HOST, PORT, …")
        kind = plain[0].lower()
        if kind not in keys.fates("surge", "proxy") and kind not in _WITHOUT_SERVER:
            return {"name": name, "type": kind}  # nobody has it, and is told which there are
        self._tell_keys("proxy", f"proxy {name!r}", options, line)
        if kind in _WITHOUT_SERVER:
            return {"name": name, "type": _WITHOUT_SERVER[kind]}
        host, port, *more = [*plain[1:3], "", ""][:2] + plain[3:]
        entry: dict[str, Any] = {"name": name, "type": kind, "server": host, "port": port}
        user, password = options.get("username"), options.get("password")
        if kind in _SIGNS_IN:
            user, password = more[:2] if len(more) > 1 else (user, password)
            entry |= {"username": user, "password": password}
            if kind == "https":
                entry |= {"type": "http", "tls": "true"}
        elif kind == "ss":
            method, password = more[:2] if len(more) > 1 else (options.get("encrypt-method"), password)
            entry |= {"cipher": method, "password": password}
        elif kind == "trojan":
            entry |= {"password": password, **_tls(options, "sni"), **_web_socket(options)}
        elif kind == "vmess":
            if options.get("vmess-aead", "").lower() not in _TRUE:
                raise LocalError("vmess-aead is not true: the older header can be tampered with, and is not supported")
            method = options.get("encrypt-method")
            entry |= {"uuid": user, "alterId": "0", "cipher": _CIPHERS.get(method, method), **_web_socket(options)}
            if options.get("tls", "").lower() in _TRUE:
                entry |= {"tls": "true", **_tls(options, "servername")}
        if kind in {"http", "https"} and (verify := [key for key in _TLS if key in options]):
            raise LocalError(f"{verify[0]} is not supported for {kind}")
        if before := options.get("underlying-proxy"):
            entry["dialer-proxy"] = before
        return {key: value for key, value in entry.items() if value is not None}

    def _tell_keys(self, section: str, label: str, options: dict[str, str], line: ConfLine) -> None:
        """Say what the table of keys says. Raises LocalError for a key that is refused, or unknown."""
        for key, words, is_refused in keys.unspoken("surge", section, options):
            if is_refused:
                raise LocalError(f"{key} {words}" if words == "is not known" else f"{key} is not supported: {words}")
            self._draft.tell(self._place(line.number), f"{label}: {key}: {words}", is_lost=False)

    # Groups.

    def _outside(self, name: str) -> list[str]:
        """The servers of a group's `policy-path`; a member that nobody knows where they were lost."""
        line, _, _, options = self._groups[name]
        names: list[str] = []
        try:
            content, place = self._read(options["policy-path"])
            for entry in self._path_entries(content, place):
                names.append(entry[0]["name"])
                self._proxies.take(*entry)
        except (LocalError, RemoteError, BadPacket) as error:
            self._draft.tell(self._place(line.number), f"group {name!r}: policy-path: {error}")
        return names or [f"policy-path of {name}"]

    def _path_entries(self, content: bytes, place: str) -> list[tuple[dict[str, Any], str, int | None, str | None]]:
        """The servers of a list: Surge's lines, or whatever else is a list of servers. Raises LocalError, BadPacket."""
        text = content.decode("utf-8-sig", "replace")
        if not re.search(r"^[^\n=#]{1,200}=\s*[\w-]+\s*,", text, re.MULTILINE) or "://" in text.partition("=")[0]:
            entries = entries_of(content, place)
            for each in entries.skipped:
                self._draft.tell(each.place, each.reason)
            return [(each.values, each.place, each.line, each.link) for each in entries.servers]
        found: list[tuple[dict[str, Any], str, int | None, str | None]] = []
        for number, bare in enumerate(text.splitlines(), 1):
            if not bare.strip() or bare.strip()[0] in "#;[":
                continue
            line = ConfLine(number, bare.strip())
            name, value = name_and_value(line.text)
            plain, options = split_options(fields(value))
            try:
                found.append((self._entry(name, plain, options, line), f"{place}:{number}", None, None))
            except LocalError as error:
                self._draft.lose(name, f"{place}:{number}", f"proxy {name!r}: {error}")
        return found

    def _group(self, name: str, group: tuple[ConfLine, str, list[str], dict[str, str]], outside: list[str]) -> None:
        """One group. Raises LocalError for what we do not have."""
        line, kind, members, options = group
        if kind in _BY_NETWORK:
            self._by_network(name, line, members, options)
            return
        if kind not in _KINDS:
            raise LocalError(f"type {kind!r} is not supported; {', '.join(_KINDS)} are")
        self._tell_keys("proxy group", f"group {name!r}", options, line)
        found = list(outside)
        if options.get("include-all-proxies", "").lower() in _TRUE:
            found += self._proxies.own
        for other in fields(options.get("include-other-group", "")):
            found += [each for each in self._members_of(other, (name,)) if each]
        if expression := options.get("policy-regex-filter"):
            try:
                found = [each for each in found if re.search(expression, each)]
            except (re.error, OverflowError, RecursionError) as error:
                raise LocalError(f"policy-regex-filter: {expression!r} is no regular expression: {error}") from None
        made: dict[str, Any] = {"type": _KINDS[kind], "servers": list(dict.fromkeys([*members, *found]))}
        if (url := options.get("url") or self._test_url) and kind != "select":
            made["url"] = url
        if (interval := _number(options.get("interval"))) and kind != "select":
            made["interval"] = float(min(86400, max(5, interval)))
        if kind == "url-test":
            made["tolerance"] = min(_number(options.get("tolerance", "100")) or 0, 60_000) / 1000
        if kind == "load-balance" and options.get("persistent", "").lower() not in _TRUE:
            made["strategy"] = "round-robin"
        self._draft.group(name, made, self._place(line.number), line.number)

    def _by_network(self, name: str, line: ConfLine, members: list[str], options: dict[str, str]) -> None:
        """A group that goes by the network: its default is chosen, and the others can be. Raises LocalError."""
        fallback = target(options.pop("default", ""))
        shown = {"hidden", "no-alert", "icon-url", "img-url"}
        others = [target(value) for key, value in options.items() if key not in shown]
        members = [target(each.rpartition("=")[2].strip()) for each in members]
        if not fallback:
            raise LocalError("it has no default")
        self._draft.tell(
            self._place(line.number),
            f"group {name!r}: it goes by the network that the machine is in: here its default {fallback} is chosen",
            is_lost=False,
        )
        made = {"type": "select", "servers": list(dict.fromkeys([fallback, *members, *others]))}
        self._draft.group(name, made, self._place(line.number), line.number)

    def _members_of(self, name: str, above: tuple[str, ...]) -> list[str]:
        """The members that another group names itself."""
        group = self._groups.get(name)
        if group is None or name in above or name in BUILT_IN:
            raise LocalError(f"include-other-group: there is no group {name!r}")
        return group[2]


_TLS = ("sni", "skip-cert-verify", "server-cert-fingerprint-sha256")


def _tls(options: dict[str, str], name_key: str) -> dict[str, str | None]:
    """TLS's keys in Clash's words. Raises LocalError."""
    name = options.get("sni")
    if name == "off":
        raise LocalError("sni=off is not supported: TLS here says which name it wants")
    return {
        name_key: name,
        "skip-cert-verify": options.get("skip-cert-verify"),
        "fingerprint": options.get("server-cert-fingerprint-sha256"),
    }


def _web_socket(options: dict[str, str]) -> dict[str, Any]:
    if options.get("ws", "").lower() not in _TRUE:
        return {}
    headers = dict(each.partition(":")[::2] for each in options.get("ws-headers", "").split("|") if each)
    values = {"path": options.get("ws-path", "/"), "headers": {key.strip(): headers[key].strip() for key in headers}}
    return {"network": "ws", "ws-opts": values}


def _number(text: str | None) -> int | None:
    """A number of seconds or milliseconds; None for none."""
    try:
        return whole_number(text or "", sys.maxsize)
    except NotANumber:
        return None
