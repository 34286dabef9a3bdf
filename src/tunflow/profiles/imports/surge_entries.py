"""Servers as Surge writes them: each line of `[Proxy]`, and of a list that a `policy-path` names, as Clash has it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tunflow.errors import LocalError
from tunflow.profiles.imports import keys
from tunflow.profiles.imports.surge_lines import fields, name_and_value, split_options

Tell = Callable[[str], None]
WITHOUT_SERVER = {"direct": "direct", "reject": "reject", "reject-tinygif": "reject", "reject-drop": "reject"}
TRUE = {"true", "1", "yes", "on"}
_SIGNS_IN = {"http", "https", "socks5"}
_CIPHERS = {None: "aes-128-gcm", "chacha20-ietf-poly1305": "chacha20-poly1305"}
_LINE = re.compile(r"^[^\n=#]{1,200}=\s*[\w-]+\s*,", re.MULTILINE)


def looks_like_lines(text: str) -> bool:
    """Return True if a list of servers is in Surge's lines."""
    return _LINE.search(text) is not None and "://" not in text.partition("=")[0]


def line_entries(text: str, place: str, skip: Callable[[str, str, str], None]) -> list[tuple[dict[str, Any], str]]:
    """The servers of a list's lines, each with its place; `skip` gets the name, the place and the reason of others."""
    found: list[tuple[dict[str, Any], str]] = []
    for number, bare in enumerate(text.splitlines(), 1):
        if not bare.strip() or bare.strip()[0] in "#;[":
            continue
        name, value = name_and_value(bare.strip())
        try:
            plain, options = split_options(fields(value))
            found.append((surge_entry(name, plain, options, lambda _: None), f"{place}:{number}"))
        except LocalError as error:
            skip(name, f"{place}:{number}", f"proxy {name!r}: {error}")
    return found


def surge_entry(name: str, plain: list[str], options: dict[str, str], tell: Tell) -> dict[str, Any]:
    """A server as Clash has it; `tell` gets a line about a key that does nothing here.

    Raises LocalError for what would be another server here.
    """
    if not plain:
        raise LocalError("reads NAME = TYPE, HOST, PORT, …")
    kind = plain[0].lower()
    if kind not in keys.fates("surge", "proxy") and kind not in WITHOUT_SERVER:
        return {"name": name, "type": kind}  # nobody has it, and is told which there are
    tell_keys("proxy", f"proxy {name!r}", options, tell)
    if kind in WITHOUT_SERVER:
        return {"name": name, "type": WITHOUT_SERVER[kind]}
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
        if options.get("vmess-aead", "").lower() not in TRUE:
            raise LocalError("vmess-aead is not true: the older header can be tampered with, and is not supported")
        method = options.get("encrypt-method")
        entry |= {"uuid": user, "alterId": "0", "cipher": _CIPHERS.get(method, method), **_web_socket(options)}
        if options.get("tls", "").lower() in TRUE:
            entry |= {"tls": "true", **_tls(options, "servername")}
    if kind in {"http", "https"} and (verify := [key for key in _TLS if key in options]):
        raise LocalError(f"{verify[0]} is not supported for {kind}")
    if before := options.get("underlying-proxy"):
        entry["dialer-proxy"] = before
    return {key: value for key, value in entry.items() if value is not None}


def tell_keys(section: str, label: str, options: dict[str, str], tell: Tell) -> None:
    """Say what the table of keys says. Raises LocalError for a key that is refused, or unknown."""
    for key, words, is_refused in keys.unspoken("surge", section, options):
        if is_refused:
            raise LocalError(f"{key} {words}" if words == "is not known" else f"{key} is not supported: {words}")
        tell(f"{label}: {key}: {words}")


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
    if options.get("ws", "").lower() not in TRUE:
        return {}
    headers = dict(each.partition(":")[::2] for each in options.get("ws-headers", "").split("|") if each)
    values = {"path": options.get("ws-path", "/"), "headers": {key.strip(): headers[key].strip() for key in headers}}
    return {"network": "ws", "ws-opts": values}
