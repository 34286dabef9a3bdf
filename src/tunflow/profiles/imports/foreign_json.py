"""Servers in other programs' JSON: SIP008, shadowsocks-libev's and -rust's files, outbounds of sing-box and Xray.

shadowsocks-rust reads JSON5: comments, commas behind the last value, keys without quotes and strings in single ones are
taken here too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from tunflow.errors import BadPacket, LocalError
from tunflow.numbers import NotANumber, whole_number
from tunflow.profiles.imports.outbounds import NO_SERVER, link_of_entry, of_sing_box, of_xray
from tunflow.protocols.link import printable
from tunflow.single_values import TwoValues, text_json_value

_NOTES = re.compile(
    r"""("(?:\\.|[^"\\])*(?:"|\\?\Z))|('(?:\\.|[^'\\])*(?:'|\\?\Z))|//[^\n]*|/\*.*?(?:\*/|\Z)""", re.DOTALL
)
_LOOSE = re.compile(r'("(?:\\.|[^"\\])*(?:"|\\?\Z))|,(?=\s*[}\]])|(?<![\w$])([A-Za-z_$][\w$]*+)(?=\s*:)', re.DOTALL)
"""What is begun and never ended goes to the end of the text, so that no other beginning in it is tried."""
_ABOUT_SERVERS = {"servers", "configs", "server", "address", "server_port", "method", "password", "type", "protocol"}
Entry = tuple[str, Any]


def entries_untrusted(text: str) -> list[Entry]:
    """The servers of a JSON text with their places; which a file says are disabled are not among them.

    Raises BadPacket.
    """
    data = loads_untrusted(text)
    if isinstance(data, dict) and isinstance(data.get("outbounds"), list):
        return list(_outbounds(data["outbounds"]))
    if isinstance(data, dict) and _ABOUT_SERVERS.isdisjoint(data):
        shown = ", ".join(map(str, list(data)[:5])) or "nothing"
        raise BadPacket(f"is JSON, and no list of servers: it has {printable(shown)}")
    servers = data.get("servers", data.get("configs", [data])) if isinstance(data, dict) else data
    if not isinstance(servers, list):
        raise BadPacket("has servers that are not a list (SIP008)")
    return [
        (f"servers[{number}]", entry)
        for number, entry in enumerate(servers)
        if not (isinstance(entry, dict) and entry.get("disabled") is True)
    ]


def loads_untrusted(text: str) -> Any:
    """The value of a JSON text, or of what people write of JSON5. Raises BadPacket."""
    with suppress(ValueError):
        return _said_once(text)
    try:
        return _said_once(_LOOSE.sub(_strict, _NOTES.sub(_quoted_twice, text)))
    except ValueError:
        raise BadPacket("looks like JSON and is not valid") from None


def _said_once(text: str) -> Any:
    """Raises ValueError for what is no JSON, BadPacket for a key with two values."""
    try:
        return text_json_value(text)
    except TwoValues as error:
        raise BadPacket(f"is JSON in which {error}") from None


def _quoted_twice(match: re.Match[str]) -> str:
    """A string as JSON has it; nothing for a note."""
    if match[2] is None:
        return match[1] or ""
    inside = re.sub(r"""\\.|\"""", lambda part: {"\\'": "'", '"': '\\"'}.get(part[0], part[0]), match[2][1:-1])
    return f'"{inside}"'


def _strict(match: re.Match[str]) -> str:
    """A string as it is, a key in quotes; nothing for a comma behind the last value."""
    return f'"{match[2]}"' if match[2] else match[1] or ""


def _outbounds(outbounds: list[Any]) -> Iterator[Entry]:
    for number, entry in enumerate(outbounds):
        if not (
            isinstance(entry, dict) and not NO_SERVER.isdisjoint({str(entry.get("type")), str(entry.get("protocol"))})
        ):
            yield f"outbounds[{number}]", entry


def link_of(entry: Any) -> str:
    """The link of one server. Raises LocalError for what is none, or one that we do not have."""
    if not isinstance(entry, dict):
        raise LocalError("is not an object with server, server_port, method and password")
    if "type" in entry or "protocol" in entry:
        return _outbound(entry)
    for key in ("transport", "prefix", "plugin"):
        if key != "plugin" and entry.get(key):
            raise LocalError(f"{key} is not supported: without it this is another server")
    server = _text(entry, "server" if "server" in entry or "address" not in entry else "address", "server")
    port = _port(entry.get("server_port", entry.get("port")))
    link = _shadowsocks(entry, server, port)
    if plugin := entry.get("plugin"):
        options = entry.get("plugin_opts")
        link += "/?plugin=" + _quoted(f"{plugin};{options}" if options else str(plugin))
    return link + _tag(entry.get("remarks") or entry.get("name"))


def _outbound(entry: dict[str, Any]) -> str:
    """The link of an outbound of sing-box or Xray. Raises LocalError."""
    version = str(entry.get("version") or "5")
    if entry.get("type") == "socks" and version in {"4", "4a"}:
        user = f"{_quoted(str(entry['username']))}@" if entry.get("username") else ""
        where = f"{_host(_text(entry, 'server', 'server'))}:{_port(entry.get('server_port'))}"
        return f"socks{version}://{user}{where}{_tag(entry.get('tag'))}"
    return link_of_entry(of_sing_box(entry) if "type" in entry else of_xray(entry))


def _shadowsocks(entry: dict[str, Any], server: str, port: int) -> str:
    method, password = _text(entry, "method", "method"), _text(entry, "password", "password")
    return f"ss://{quote(method, safe='')}:{_quoted(password)}@{_host(server)}:{port}"


def _text(entry: dict[str, Any], key: str, name: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise LocalError(f"{name} must be a string")
    return value


def _port(value: Any) -> int:
    try:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise NotANumber
        port = whole_number(str(value), 65535)
    except NotANumber:
        port = 0
    if not port:
        raise LocalError("server_port must be a number from 1 to 65535")
    return port


def _host(server: str) -> str:
    return f"[{server}]" if ":" in server else quote(server, safe="")


def _tag(name: Any) -> str:
    return f"#{_quoted(name)}" if isinstance(name, str) and name else ""


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")
