"""The name in an HTTP/1 request: its Host header, or the target of the request line where that is absolute.

Read first: RFC 9112 §2.2, §3.2 and §3.3, RFC 9110 §7.2.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import NamedTuple

from tunflow.errors import BadPacket
from tunflow.filter.tls import host_name_untrusted

LARGEST = 16 * 1024
"""Bytes of a request's head that are looked at."""

LONGEST_METHOD = 24
_TOKEN = re.compile(rb"[A-Z][A-Z0-9_-]*")
_REQUEST_LINE = re.compile(rb"([A-Z][A-Z0-9_-]{0,23}) (\S{1,8192}) HTTP/1\.[01]")


class RequestHead(NamedTuple):
    """What a request asks for, as far as the first lines tell."""

    method: str
    target: str
    """The path, or the whole URL in a request to a proxy."""
    host: str | None
    """The name in lower case, without a port; None for an address and where none is given."""


def parse_request_untrusted(stream: bytes) -> RequestHead | None:
    """The request at the start of a TCP stream; None while more bytes are needed. Raises BadPacket.

    It is answered as soon as the name is known: the rest of the head may still be on its way.
    """
    stream = stream.lstrip(b"\r\n") if stream[:1] in {b"\r", b"\n"} else stream  # RFC 9112 §2.2
    first, ended, rest = stream.partition(b"\n")
    if not ended:
        method = _TOKEN.match(first)
        whole = method is not None and (method.end() == len(first) or first[method.end()] == 0x20)
        if first and (not whole or method is None or method.end() > LONGEST_METHOD or len(first) > LARGEST):
            raise BadPacket("not an HTTP request")
        return None
    line = _REQUEST_LINE.fullmatch(first.rstrip(b"\r"))
    if line is None:
        raise BadPacket("not an HTTP/1 request")
    method_text, target = line[1].decode("ascii"), line[2].decode("latin-1")
    host = _absolute_untrusted(method_text, line[2])
    while True:
        header, ended, rest = rest.partition(b"\n")
        header = header.rstrip(b"\r")
        if not ended:
            if len(stream) > LARGEST:
                raise BadPacket("the head of a request that is too long")
            return None
        if not header:
            return RequestHead(method_text, target, host)
        name, colon, value = header.partition(b":")
        if not colon:
            raise BadPacket("a header without a colon")
        if name.lower() == b"host":
            # RFC 9112 §3.2.2: an absolute target counts, whatever Host says.
            return RequestHead(method_text, target, host or _host_untrusted(value.strip()))


def _absolute_untrusted(method: str, target: bytes) -> str | None:
    if method == "CONNECT":
        return _host_untrusted(target)
    scheme, separator, rest = target.partition(b"://")
    if not separator or not scheme.isalpha():
        return None
    return _host_untrusted(rest.partition(b"/")[0].rpartition(b"@")[2])


def _host_untrusted(value: bytes) -> str | None:
    """The name in `name:port`; None for an address and for nothing."""
    if value.startswith(b"["):
        return None
    name = value.partition(b":")[0]
    if not name:
        return None
    host = host_name_untrusted(name)
    try:
        ip_address(host)
    except ValueError:
        return host
    return None
