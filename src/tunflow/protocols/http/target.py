"""What an HTTP client asks a proxy for: the target of its request line.

Read first: RFC 9112 §3.2 (the four forms), RFC 9110 §4.2 (http URIs), RFC 3986 §3.2 (authority).

Rules: only what names a host as DNS and addresses do is taken: letters, digits, `.`, `-`, `_`, or an IPv6 address in
brackets without a zone; nothing is repaired.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import BadPacket

HTTP_PORT = 80

LONGEST_HEADER = 64 * 1024
"""Bytes of a request's or an answer's header; browsers' cookies fill a good part of it."""

_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,255}))(?::([0-9]{0,5}))?")
_HTTP_URI = re.compile(r"[Hh][Tt][Tt][Pp]://(?:[^/?#@\\]*@)?([^/?#@\\]+)(/[^?#]*)?(\?[^#]*)?(?:#.*)?")


class SiteTarget(NamedTuple):
    """A whole URI, taken apart for the site that it names."""

    site: Endpoint
    authority: str
    """The value of Host: the URI's host and port as they were written, without user information (RFC 9112 §3.2.2)."""
    path: str
    """Path and query; empty when the URI has neither."""


def authority_untrusted(text: str, default_port: int | None) -> Endpoint:
    """The host and port of `HOST:PORT`; `default_port` stands for none. Raises BadPacket."""
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        raise BadPacket("a client's HTTP request names no host")
    six, name, port_text = found.groups()
    port = int(port_text) if port_text else default_port
    if port is None or not 0 < port < 65536:
        raise BadPacket("a client's HTTP request names no port")
    target = endpoint(six or name, port)
    if six and (isinstance(target.host, str) or len(target.host) != 16):
        raise BadPacket("a client's HTTP request has brackets without an IPv6 address in them")
    return target


def http_uri_untrusted(text: str) -> SiteTarget:
    """The parts of an `http:` URI. Raises BadPacket for anything else."""
    found = _HTTP_URI.fullmatch(text)
    if found is None:
        raise BadPacket("a client's request names no http:// site")
    authority, path, query = found.groups()
    site = authority_untrusted(authority, HTTP_PORT)
    if query:
        return SiteTarget(site, authority, (path or "/") + query)
    return SiteTarget(site, authority, path or "")
