"""Outline's access keys: what `ssconf://` leads to, in YAML.

Read first: https://developers.google.com/outline/docs/guides/service-providers/config
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from tunflow.errors import LocalError
from tunflow.profiles.imports.yaml_lines import YAMLDocument
from tunflow.protocols.link import printable

_LOOKS = re.compile(rb"^[\s{]*\"?(?:transport|error)\"?[ \t]*:", re.MULTILINE)
_DEEPEST = 8


def looks_like_outline(content: bytes) -> bool:
    """Return True if a file looks like an access key's configuration."""
    return (_LOOKS.search(content[:4096]) is not None and b"$type" in content[:65536]) or _is_error(content)


def _is_error(content: bytes) -> bool:
    return re.match(rb"\s*(?:\{\s*)?\"?error\"?\s*:", content) is not None and b"message" in content[:4096]


def chain_of(text: str, file: str) -> list[str]:
    """The links of an access key's servers, first hop first. Raises LocalError, also for a provider's own message."""
    document = YAMLDocument(text, file)
    data = document.data if isinstance(document.data, dict) else {}
    if isinstance(error := data.get("error"), dict):
        raise LocalError(f"{file}: the provider says: {' '.join(str(error.get('message') or 'no').split())[:200]}")
    try:
        return _transport(data.get("transport"))
    except LocalError as error:
        raise LocalError(f"{document.at('transport')}: {error}") from None


def _transport(given: Any) -> list[str]:
    if isinstance(given, str):
        return [given]
    if not isinstance(given, dict):
        raise LocalError("transport is a table, or an ss:// link")
    if given.get("$type") != "tcpudp":
        return _dialer(given, 0)
    tcp, udp = _dialer(given.get("tcp"), 0), _dialer(given.get("udp") or given.get("tcp"), 0)
    if tcp != udp:
        raise LocalError("TCP and UDP go to different servers, which is not supported")
    return tcp


def _dialer(given: Any, depth: int) -> list[str]:
    """The servers that a dialer goes through."""
    if depth > _DEEPEST:
        raise LocalError(f"servers are nested deeper than {_DEEPEST}")
    if isinstance(given, str):
        return [given]
    if not isinstance(given, dict):
        raise LocalError("tcp and udp are tables with $type: shadowsocks")
    if str(given.get("$type")) not in {"shadowsocks", "ss"}:
        raise LocalError(f"$type {printable(str(given.get('$type')))} is not supported; shadowsocks is")
    if given.get("prefix"):
        raise LocalError("prefix is not supported: without it this is another server")
    before, where = _endpoint(given.get("endpoint"), depth)
    method, password = given.get("cipher"), given.get("secret")
    if not isinstance(method, str) or not isinstance(password, str):
        raise LocalError("cipher and secret are texts")
    if extra := [key for key in given if key not in {"$type", "endpoint", "cipher", "secret", "prefix"}]:
        raise LocalError(f"{printable(extra[0])} is not supported")
    return [*before, f"ss://{quote(method, safe='')}:{quote(password, safe='')}@{where}"]


def _endpoint(given: Any, depth: int) -> tuple[list[str], str]:
    """The servers before, and `HOST:PORT`."""
    if isinstance(given, str):
        return [], given
    if isinstance(given, dict) and given.get("$type") == "dial" and isinstance(given.get("address"), str):
        dialer = given.get("dialer")
        return (_dialer(dialer, depth + 1) if dialer else []), given["address"]
    kind = given.get("$type") if isinstance(given, dict) else given
    raise LocalError(f"endpoint {printable(str(kind))} is not supported; HOST:PORT and $type: dial are")
