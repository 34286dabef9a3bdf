"""Server lists that providers hand out: links by the line, the same in base64, and SIP008.

Rules: what is understood is taken, what is not is told with its place and reason, and a list without one usable server
is an error. Read first: SIP002, SIP008 (shadowsocks.org/doc/sip008.html).
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote

from tunflow.errors import BadPacket, LocalError
from tunflow.profiles.imports import foreign_json
from tunflow.profiles.imports.import_notice import ImportNotice
from tunflow.protocols.registry import parse_server

MOST_SERVERS = 10_000
"""More than this is no list of servers."""


class ServerList(NamedTuple):
    """The usable links of a list, each with a name of its own, and what was left out."""

    links: dict[str, str]
    skipped: list[ImportNotice]


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
            servers.skipped.append(
                ImportNotice(place, f"a list has at most {MOST_SERVERS} servers; the rest is left out")
            )
            break
        try:
            link = read()
            name = name_of(link)
        except LocalError as error:
            servers.skipped.append(ImportNotice(place, str(error)))
        else:
            servers.links[_unused(name, servers.links)] = link
    if not servers.links:
        first = servers.skipped[0] if servers.skipped else None
        raise BadPacket("holds no server" + (f" that can be used: {first.place}: {first.reason}" if first else ""))
    return servers


def name_of(link: str) -> str:
    """What a server is called in a profile: its tag, or else where it is. Raises LocalError for a wrong link."""
    server = parse_server(link, is_foreign=True)
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
            tag = name_from(unquote(link.partition("#")[2])) if "#" in link else ""
            yield f"line {number} ({tag})" if tag else f"line {number}", lambda link=link: _line_link(link)  # type: ignore[misc]


def decoded(content: bytes) -> bytes | None:
    """What a file of nothing but base64 holds; None for any other."""
    try:
        return _from_base64(content.decode("ascii")).encode()
    except (UnicodeDecodeError, BadPacket):
        return None


def _from_base64(text: str) -> str:
    digits = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return b64decode(digits + "=" * (-len(digits) % 4), validate=True).decode("utf-8-sig")
    except ValueError:
        raise BadPacket("is neither server links, nor base64 of them, nor SIP008 JSON, nor Clash YAML") from None


def _json_entries(text: str) -> Iterator[Entry]:
    """The servers of a JSON text. Raises BadPacket."""
    for place, entry in foreign_json.entries_untrusted(text):
        yield place, lambda entry=entry: foreign_json.link_of(entry)  # type: ignore[misc]


def _line_link(link: str) -> str:
    """A link of a list as we write it. Raises LocalError for one that would be another server here.

    v2rayN writes a SOCKS server's user and password in base64; some panels put into `ss://` that the server speaks
    through WebSocket or ShadowTLS, which plain Shadowsocks would not reach.
    """
    scheme, separator, rest = link.partition("://")
    if not separator:
        raise LocalError("is no link")
    if scheme.lower() == "socks":
        user, at, where = rest.rpartition("@")
        if at and ":" not in user:
            with suppress(BadPacket):
                name, _, password = _from_base64(unquote(user)).partition(":")
                sign_in = f"{_quoted(name)}:{_quoted(password)}@" if name else ""
                return f"{scheme}://{sign_in}{where}"
    if scheme.lower() == "ss":
        query = rest.partition("#")[0].partition("?")[2]
        options = dict(parse_qsl(query, keep_blank_values=True))
        kind = options.get("type", "tcp").lower()
        if kind not in {"tcp", "raw", ""}:
            over = " over TLS" if options.get("security", "").lower() == "tls" else ""
            raise LocalError(f"Shadowsocks through {kind}{over} is not supported")
        if options.get("security", "none").lower() not in {"none", ""}:
            raise LocalError(f"Shadowsocks through {options['security'].upper()} is not supported")
        if "shadow-tls" in options:
            raise LocalError("Shadowsocks through ShadowTLS is not supported")
    return link


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")


def _unused(name: str, taken: dict[str, str]) -> str:
    """`name`, or the first of `name-2`, `name-3` … that is free."""
    if name not in taken:
        return name
    return next(each for each in (f"{name}-{number}" for number in range(2, len(taken) + 3)) if each not in taken)
