"""The parts that links of every scheme have: user and password, host and port, options and a tag.

A link holds a password, so no error and no label shows more of one than its scheme, method, host, port and tag. Every
error is a LocalError of one line.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from ipaddress import IPv6Address
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode

from tunflow.errors import LocalError
from tunflow.single_values import TwoValues, put

YES_NO = ("yes", "no")
INSECURE = ("insecure", "allowInsecure", "allow_insecure", "skip-cert-verify")
"""How links say that any certificate is accepted."""
_HARMLESS = frozenset({"tfo", "mptcp", "fastopen", "fast-open", "group", "outline"})
"""What others write about how a client dials, and where it lists a server."""
_FLAGS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


class Link(NamedTuple):
    """A link cut at its `://`: the scheme in lower case, and what stands behind.

    `listening` says that it is the server's own side, whose host may be empty (every local address), `is_foreign` that
    it comes from a list that somebody else made, which may name no program of this machine that is not known.
    """

    scheme: str
    rest: str
    listening: bool = False
    is_foreign: bool = False


class Parts(NamedTuple):
    """A link behind its `://`, cut up but not decoded. `user` and `tag` are None where the link has none."""

    user: str | None
    where: str
    query: str
    tag: str | None


def cut(rest: str) -> Parts:
    """Cut up `[USER@]HOST:PORT[/][?QUERY][#TAG]`; a password may hold a bare '@' or '/'."""
    rest, hash_sign, tag = rest.partition("#")
    first_at = rest.find("@")
    if first_at < 0:
        where, _, query = rest.partition("?")
        return Parts(None, where.removesuffix("/"), query, unquote(tag) if hash_sign else None)
    where, _, query = rest[first_at:].partition("?")
    user, _, where = (rest[:first_at] + where).rpartition("@")
    return Parts(user, where.removesuffix("/"), query, unquote(tag) if hash_sign else None)


def parse_user(scheme: str, user: str | None) -> tuple[str | None, str | None]:
    """User name and password out of `USER:PASSWORD`, percent-encoded; None where one is not given."""
    if not user:
        return None, None
    name, colon, password = user.partition(":")
    return unquoted(scheme, name), unquoted(scheme, password) if colon else None


def parse_where(
    scheme: str, where: str, shape: str, *, listening: bool = False, port: int | None = None
) -> tuple[str, int]:
    """Host (without brackets) and port from `HOST:PORT`; `port` is what stands for none."""
    if where.startswith("["):
        literal, bracket, port_text = where[1:].partition("]")
        host = unquoted(scheme, literal)
        if not bracket or not is_ipv6(host):
            raise LocalError(f"the {scheme}:// link's host in brackets is not an IPv6 address")
        if port_text and not port_text.startswith(":"):
            raise LocalError(f"the {scheme}:// link's IPv6 host must be followed by ':' and a port")
        port_text = port_text[1:]
    else:
        host, _, port_text = where.rpartition(":") if ":" in where else (where, "", "")
        host = unquoted(scheme, host)
        if ":" in host:
            raise LocalError(f"an IPv6 host in {_a(scheme)} {scheme}:// link stands in brackets, as in [::1]:8388")
        if not re.fullmatch(r"[^\s/?#@\[\]\x00-\x20\x7f]{0,255}", host):
            raise LocalError(f"the {scheme}:// link's host has characters that no host name has, or too many")
        if host.startswith(".") or ".." in host:
            raise LocalError(f"the {scheme}:// link's host has an empty label: {printable(host)!r} is no host name")
    if not host and not listening:
        raise LocalError(f"the {scheme}:// link names no host; it reads {shape}")
    if not port_text:
        if port is None:
            raise LocalError(f"the {scheme}:// link names no port; it reads {shape}")
        return host, port
    if not re.fullmatch(r"[0-9]{1,5}", port_text) or not 1 <= int(port_text) <= 65535:
        raise LocalError(f"the {scheme}:// link's port is not a number from 1 to 65535")
    return host, int(port_text)


def parse_options(scheme: str, query: str, accepted: dict[str, Collection[str]]) -> dict[str, str]:
    """The options behind '?', each with one of its accepted values."""
    options: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in accepted:
            known = ", ".join(accepted) or "none"
            raise LocalError(f"the {scheme}:// link has an unknown option {printable(key)!r}; accepted: {known}")
        if value not in accepted[key]:
            raise LocalError(f"{key} in {_a(scheme)} {scheme}:// link is one of {', '.join(accepted[key])}")
        put_parameter(scheme, options, key, value)
    return options


def put_parameter(scheme: str, values: dict[str, str], key: str, value: str) -> None:
    """Add a parameter. Raises LocalError for one that says two things: clients take either."""
    try:
        put(values, key, value)
    except TwoValues:
        raise LocalError(f"{key} in {_a(scheme)} {scheme}:// link is given twice, with two values") from None


def printable_parameters(scheme: str, query: str, known: Collection[str]) -> dict[str, str]:
    """The parameters behind '?', each something that can be printed. Raises LocalError."""
    values: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in known:
            accepted = ", ".join(known)
            raise LocalError(f"the {scheme}:// link has an unknown option {printable(key)!r}; accepted: {accepted}")
        if not value or not value.isprintable():
            raise LocalError(
                f"{key} in {_a(scheme)} {scheme}:// link is empty, or has characters that cannot be printed"
            )
        put_parameter(scheme, values, key, value)
    return values


def parameters(scheme: str, query: str, known: Collection[str], also: Collection[str] = frozenset()) -> dict[str, str]:
    """The parameters behind '?', without empty ones and those that change no connection.

    `also` are those that the caller refuses in words of its own, or reads for others' sake.

    Raises LocalError for an unknown one, and for one that says two things.
    """
    values: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if not value or (key in _HARMLESS and key not in known):
            continue
        if key not in known and key not in also:
            accepted = ", ".join(sorted(known))
            raise LocalError(f"the {scheme}:// link has an unknown parameter {printable(key)!r}; accepted: {accepted}")
        put_parameter(scheme, values, key, value)
    return values


def is_insecure(scheme: str, values: Mapping[str, str]) -> bool:
    """Return True if parameters say, by any of `INSECURE`, that any certificate is accepted. Raises LocalError."""
    said = {key: yes_or_no(scheme, key, values[key], default=False) for key in INSECURE if key in values}
    if len(set(said.values())) > 1:
        raise LocalError(f"{' and '.join(said)} in {_a(scheme)} {scheme}:// link say two things; one of them is enough")
    return any(said.values())


def yes_or_no(scheme: str, key: str, text: str | None, default: bool) -> bool:
    """Return True if the option `key` of a link says so; `default` if it is not given. Raises LocalError."""
    if text is None:
        return default
    if text.lower() not in _FLAGS:
        raise LocalError(f"{key} in {_a(scheme)} {scheme}:// link is 1 or 0 (yes or no), not {printable(text)!r}")
    return _FLAGS[text.lower()]


def refuse_rest(link: Link) -> None:
    """Raises LocalError for anything behind the `://` of a link that takes nothing."""
    if link.rest not in {"", "/"}:
        raise LocalError(f"{link.scheme}:// takes nothing after it")


def format_where(host: str, port: int) -> str:
    """`HOST:PORT` as a link has it."""
    host = host.replace("%", "%25")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def format_user(user: str | None, password: str | None) -> str:
    """`USER:PASSWORD@`, percent-encoded, or nothing."""
    if user is None:
        return ""
    return f"{quote(user, safe='')}{':' + quote(password, safe='') if password is not None else ''}@"


def format_options(options: Mapping[str, str]) -> str:
    """`?KEY=VALUE&…`, percent-encoded, or nothing."""
    return f"?{urlencode(options)}" if options else ""


def format_tag(tag: str | None) -> str:
    """`#TAG`, or nothing."""
    return f"#{quote(tag, safe='')}" if tag is not None else ""


def label(scheme: str, host: str, port: int, tag: str | None, method: str = "") -> str:
    """A server as logs name it."""
    host = f"[{host}]" if ":" in host else host
    return printable(f"{scheme}://{method}{'@' if method else ''}{host}:{port}{f'#{tag}' if tag else ''}")


def unquoted(scheme: str, text: str) -> str:
    """Text without its percent-encoding."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise LocalError(f"the {scheme}:// link has percent-encoded bytes that are not UTF-8") from None


def is_ipv6(text: str) -> bool:
    """Return True if it is an IPv6 address, perhaps with a scope."""
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def printable(text: str) -> str:
    """At most 120 characters fit for one line of a terminal."""
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return shown if len(shown) <= 120 else shown[:119] + "…"


def _a(scheme: str) -> str:
    return "an" if scheme[0] in "aeio" or scheme in {"ss", "ssh", "http", "https"} else "a"
