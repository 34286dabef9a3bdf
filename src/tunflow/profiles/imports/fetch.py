"""Fetches a small document from the web, once, within bounds."""

from __future__ import annotations

import base64
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException
from typing import NamedTuple
from urllib.parse import quote, unquote

from tunflow.errors import LocalError, RemoteError
from tunflow.numbers import NotANumber, whole_number
from tunflow.rules.domains import normalise
from tunflow.urls import parse_url, parse_web_address

LARGEST = 4 * 1024 * 1024
"""Bytes."""
PATIENCE = 20.0
"""Seconds for all of it."""
_PIECE = 65536
_AS_IT_IS = "%/?:=&;,+!$'()*~@[]"
"""What `quote` leaves in a URL's path and query besides letters and digits."""


class ServerReply(NamedTuple):
    """What a server said."""

    content: bytes | None
    """None when what the caller has is still what there is."""
    etag: str | None
    user_info: str | None = None
    """The header `Subscription-Userinfo`."""


USER_AGENT = "tunflow"
USER_INFO = "Subscription-Userinfo"


def fetch(
    url: str, *, largest: int = LARGEST, patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic
) -> bytes:
    """What an http:// or https:// URL holds. Raises LocalError for one that cannot be fetched, and RemoteError.

    Neither shows more of the URL than its host.
    """
    content = fetch_changed(url, None, largest=largest, patience=patience, clock=clock).content
    assert content is not None, "not changed since nothing"
    return content


def fetch_changed(
    url: str,
    etag: str | None,
    *,
    largest: int = LARGEST,
    patience: float = PATIENCE,
    clock: Callable[[], float] = time.monotonic,
    user_agent: str | None = None,
) -> ServerReply:
    """What a URL holds, unless that is still what had `etag` (RFC 9110 §13.1.2). Raises as `fetch`."""
    deadline = clock() + patience
    parts = parse_web_address(web_address(url))
    host = parts.where
    headers = {"User-Agent": user_agent or USER_AGENT, "Accept": "*/*"} | ({"If-None-Match": etag} if etag else {})
    request = urllib.request.Request(f"{parts.scheme}://{host}{parts.target}", headers=headers)
    if parts.user_information is not None:
        request.add_unredirected_header("Authorization", basic_authorization(parts.user_information))
    opener = urllib.request.OpenerDirector()  # no file:, ftp: or data:, wherever a redirect points
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    try:
        with opener.open(request, timeout=patience) as answer:
            content = bytearray()
            while piece := answer.read1(_PIECE):
                content += piece
                if len(content) > largest:
                    raise RemoteError(f"{host} sends more than {largest} bytes")
                if clock() > deadline:
                    raise RemoteError(f"{host} took more than {patience:.0f} s")
            length = answer.headers.get("Content-Length", "")
            with suppress(NotANumber):
                if whole_number(length, sys.maxsize) != len(content):
                    raise RemoteError(f"{host} sent {len(content)} of {length} bytes")
            return ServerReply(bytes(content), answer.headers.get("ETag"), answer.headers.get(USER_INFO))
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.NOT_MODIFIED and etag:
            return ServerReply(None, etag, error.headers.get(USER_INFO))
        raise RemoteError(f"{host} answered with status {error.code}") from None
    except urllib.error.URLError as error:
        raise RemoteError(f"cannot fetch from {host}: {_reason(error.reason)}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise RemoteError(f"cannot fetch from {host}: {_reason(error)}") from None


def web_address(text: str) -> str:
    """A URL as it is fetched: its host in ASCII (IDNA), other characters escaped. Raises LocalError."""
    try:
        parts = parse_url(text)
        if not text.isascii():
            host = parts._replace(host=parts.host if parts.host.isascii() else normalise(parts.host)).where
            user = "" if parts.user_information is None else f"{quote(parts.user_information, safe=_AS_IT_IS)}@"
            text = f"{parts.scheme}://{user}{host}{quote(parts.target, safe=_AS_IT_IS)}"
        parse_web_address(text)
    except ValueError as error:
        raise LocalError(f"no web address: {error}; it reads https://HOST/PATH") from None
    return text


def basic_authorization(user_information: str) -> str:
    """What a URL's `NAME:PASSWORD` is in a request (RFC 7617 §2)."""
    name, _, password = user_information.partition(":")
    plain = f"{unquote(name)}:{unquote(password)}"
    return f"Basic {base64.b64encode(plain.encode(errors='replace')).decode()}"


def _reason(error: object) -> str:
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    return getattr(error, "strerror", None) or type(error).__name__ + (f" ({error})" if str(error) else "")
