"""Fetches a small document from the web, once, within bounds."""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException

from tunflow.errors import RemoteError

LARGEST = 4 * 1024 * 1024
"""Bytes."""
PATIENCE = 20.0
"""Seconds for all of it."""
_PIECE = 65536


def fetch(
    url: str, *, largest: int = LARGEST, patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic
) -> bytes:
    """What an http:// or https:// URL holds. Raises RemoteError, which does not show more of the URL than its host."""
    deadline = clock() + patience
    host = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    request = urllib.request.Request(url, headers={"User-Agent": "tunflow", "Accept": "*/*"})
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
            return bytes(content)
    except urllib.error.HTTPError as error:
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
