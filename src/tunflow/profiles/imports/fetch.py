"""Fetches a small document from the web, once, within bounds."""

from __future__ import annotations

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

from tunflow.errors import RemoteError
from tunflow.numbers import NotANumber, whole_number

LARGEST = 4 * 1024 * 1024
"""Bytes."""
PATIENCE = 20.0
"""Seconds for all of it."""
_PIECE = 65536


class Answer(NamedTuple):
    """What a server said."""

    content: bytes | None
    """None when what the caller has is still what there is."""
    etag: str | None


def fetch(
    url: str, *, largest: int = LARGEST, patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic
) -> bytes:
    """What an http:// or https:// URL holds. Raises RemoteError, which does not show more of the URL than its host."""
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
) -> Answer:
    """What a URL holds, unless that is still what had `etag` (RFC 9110 §13.1.2). Raises RemoteError as `fetch`."""
    deadline = clock() + patience
    host = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    headers = {"User-Agent": "tunflow", "Accept": "*/*"} | ({"If-None-Match": etag} if etag else {})
    request = urllib.request.Request(url, headers=headers)
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
            return Answer(bytes(content), answer.headers.get("ETag"))
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.NOT_MODIFIED and etag:
            return Answer(None, etag)
        raise RemoteError(f"{host} answered with status {error.code}") from None
    except urllib.error.URLError as error:
        raise RemoteError(f"cannot fetch from {host}: {_reason(error.reason)}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise RemoteError(f"cannot fetch from {host}: {_reason(error)}") from None


def _reason(error: object) -> str:
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    return getattr(error, "strerror", None) or type(error).__name__ + (f" ({error})" if str(error) else "")
