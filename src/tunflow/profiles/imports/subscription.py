"""Server lists that providers hand out: links by the line, the same in base64, and SIP008.

Rules: what is understood is taken, what is not is told with its place and reason, and a list without one usable server
is an error. Read first: SIP002, SIP008 (shadowsocks.org/doc/sip008.html).
"""

from __future__ import annotations

import json
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

from tunflow.errors import BadPacket, LocalError
from tunflow.profiles.imports.told import Told
from tunflow.protocols.registry import parse_server

MOST_SERVERS = 10_000
"""More than this is no list of servers."""


class ServerList(NamedTuple):
    """The usable links of a list, each with a name of its own, and what was left out."""

    links: dict[str, str]
    skipped: list[Told]


def server_list_untrusted(content: bytes) -> ServerList:
    """The servers in a subscription's bytes. Raises BadPacket when there is none."""
    try:
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise BadPacket("is not text") from None
    if text.startswith(("{", "[")):
        entries = _json_entries(text)
    else:
        entries = _line_entries(text if "://" in text else _from_base64(text))
    servers = ServerList({}, [])
    for number, (place, read) in enumerate(entries):
        if number == MOST_SERVERS:
            servers.skipped.append(Told(place, f"a list has at most {MOST_SERVERS} servers; the rest is left out"))
            break
        try:
            link = read()
            name = name_of(link)
        except LocalError as error:
            servers.skipped.append(Told(place, str(error)))
        else:
            servers.links[_unused(name, servers.links)] = link
    if not servers.links:
        first = servers.skipped[0] if servers.skipped else None
        raise BadPacket("holds no server" + (f" that can be used: {first.place}: {first.reason}" if first else ""))
    return servers


def name_of(link: str) -> str:
    """What a server is called in a profile: its tag, or else where it is. Raises LocalError for a wrong link."""
    server = parse_server(link)
    hop = server.first_hop
    text = server.tag or (server.label if hop is None else f"{hop[0]}-{hop[1]}")
    return name_from(text)


def name_from(text: str) -> str:
    """A name that files, rules and command lines take, as near to `text` as can be."""
    kept = "".join(character if character.isalnum() or character in "._+-" else "-" for character in text)
    kept = "-".join(part for part in kept.split("-") if part).lstrip("._+-").removesuffix(".toml")[:60].rstrip(".-")
    return kept or "server"


Entry = tuple[str, Callable[[], str]]
"""A place, and a function that gives the link there or raises LocalError."""


def _line_entries(text: str) -> Iterator[Entry]:
    for number, line in enumerate(text.splitlines(), 1):
        if (link := line.strip()) and not link.startswith(("#", "//")):
            yield f"line {number}", lambda link=link: link  # type: ignore[misc]


def _from_base64(text: str) -> str:
    digits = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return b64decode(digits + "=" * (-len(digits) % 4), validate=True).decode("utf-8-sig")
    except (Base64Error, ValueError):
        raise BadPacket("is neither server links, nor base64 of them, nor SIP008 JSON, nor Clash YAML") from None


def _json_entries(text: str) -> Iterator[Entry]:
    """SIP008, a list of its servers alone, or one server as shadowsocks-libev's configuration has it."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise BadPacket("looks like JSON and is not valid") from None
    servers = data.get("servers", data.get("configs", [data])) if isinstance(data, dict) else data
    if not isinstance(servers, list):
        raise BadPacket("has servers that are not a list (SIP008)")
    for number, entry in enumerate(servers):
        yield f"servers[{number}]", lambda entry=entry: _from_sip008(entry)  # type: ignore[misc]


def _from_sip008(entry: Any) -> str:
    """The link of one SIP008 server. Raises LocalError."""
    if not isinstance(entry, dict):
        raise LocalError("is not an object with server, server_port, method and password")
    text: dict[str, str] = {}
    for key in ("server", "method", "password"):
        if not isinstance(entry.get(key), str) or not entry[key]:
            raise LocalError(f"{key} must be a string")
        text[key] = entry[key]
    port = entry.get("server_port")
    if isinstance(port, str) and port.isascii() and port.isdigit():
        port = int(port[:6])
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        raise LocalError("server_port must be a number from 1 to 65535")
    host = f"[{text['server']}]" if ":" in text["server"] else quote(text["server"], safe="")
    link = f"ss://{quote(text['method'], safe='')}:{_quoted(text['password'])}@{host}:{port}"
    if plugin := entry.get("plugin"):
        options = entry.get("plugin_opts")
        link += "/?plugin=" + _quoted(f"{plugin};{options}" if options else str(plugin))
    remarks = entry.get("remarks") or entry.get("name")
    return f"{link}#{_quoted(remarks)}" if isinstance(remarks, str) and remarks else link


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")


def _unused(name: str, taken: dict[str, str]) -> str:
    """`name`, or the first of `name-2`, `name-3` … that is free."""
    if name not in taken:
        return name
    return next(each for each in (f"{name}-{number}" for number in range(2, len(taken) + 3)) if each not in taken)
