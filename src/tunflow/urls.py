"""URLs in text that others wrote: taken apart once and whole, or one documented error.

`urllib.parse.urlsplit` raises for some hosts at once, for a port when that is looked at, and for others not at all;
it takes tabs and line breaks out in silence.

Read first: RFC 3986 §3. Rules: nothing is repaired; brackets hold an IPv6 address; a port is 1 to 5 ASCII digits.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import NamedTuple

from tunflow.addresses import NotAnAddress, ip_address

_URL = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?")
_WHERE = re.compile(r"(?:\[([^\[\]@]*)\]|([^\[\]:@]*))(?::([0-9]{0,5}))?")
_NEVER = re.compile(r"[\x00-\x20\x7f]")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
LONGEST_NAME = 253
"""Characters of a host's name."""


class NotAURL(ValueError):
    """Text is no URL."""


class URL(NamedTuple):
    """The parts of a URL; what it does not have is empty, or None."""

    scheme: str
    """In lower case."""
    user_information: str | None
    """What stands before `@`: a name, and perhaps a password."""
    host: str
    """In lower case, without brackets."""
    port: int | None
    path: str
    query: str

    @property
    def where(self) -> str:
        """`host:port` or `host`, as an HTTP request's Host has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def target(self) -> str:
        """Path and query, as an HTTP request's target has them."""
        return (self.path or "/") + (f"?{self.query}" if self.query else "")


def parse_url(text: str) -> URL:
    """A URL's parts, also those of a relative one (`//host`, a path). Raises NotAURL."""
    found = None if _NEVER.search(text) else _URL.fullmatch(text)
    if found is None:
        raise NotAURL("a URL has no blanks and no control characters")
    scheme, authority, path, query, _ = found.groups(default="")
    user, at, where = authority.rpartition("@")
    parts = _WHERE.fullmatch(where)
    if parts is None:
        raise NotAURL("no host and port stand where a URL has them")
    bracketed, name, port_text = parts.groups()
    port = int(port_text) if port_text else None
    if port is not None and port > 65535:
        raise NotAURL("a port is a number up to 65535")
    if bracketed is not None:
        try:
            if ip_address(bracketed, zone=True).version == 4:
                raise NotAURL("brackets in a URL hold an IPv6 address")
        except NotAnAddress:
            raise NotAURL("brackets in a URL hold an IPv6 address") from None
    return URL(scheme.lower(), user if at else None, (bracketed or name or "").lower(), port, path, query)


def parse_web_address(text: str) -> URL:
    """The parts of an http:// or https:// URL in ASCII that something can be fetched from. Raises NotAURL."""
    parts = parse_url(text)
    if parts.scheme not in {"http", "https"}:
        raise NotAURL("it begins with http:// or https://")
    if not text.isascii():
        raise NotAURL("it is written in ASCII")
    if parts.port == 0:
        raise NotAURL("a port is a number from 1 to 65535")
    _check_host(parts.host)
    return parts


def _check_host(host: str) -> None:
    """Raises NotAURL for what is neither an address without a zone nor a name that can be asked for.

    A name whose last label is a number is an address that is written wrong (URL Standard, host parsing): resolvers of
    this machine would take `1.2.3` for 1.2.0.3.
    """
    with suppress(NotAnAddress):
        ip_address(host)
        return
    labels = host.removesuffix(".").split(".")
    if len(host) > LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise NotAURL("its host is neither a name nor an address")
    if _NUMERIC.fullmatch(labels[-1]):
        raise NotAURL("its host is no address with four numbers")
