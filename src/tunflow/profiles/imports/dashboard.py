"""Clash's API, which sing-box has too, as a profile's `[api]`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from tunflow.errors import LocalError


def api_section(controller: Any, secret: Any) -> dict[str, Any]:
    """`[api]` for an `external-controller`. Raises LocalError where others could use it, or nobody could serve it."""
    host, _, port = str(controller).rpartition(":")
    if host not in {"", "127.0.0.1", "localhost", "[::1]"} or not port.isascii() or not port.isdecimal():
        raise LocalError("is open to others, which takes a secret of yours: left out ([api] listen and secret)")
    if find_spec("uvicorn") is None:
        raise LocalError("takes the extra ui (pip install 'tunflow[ui]'): left out")
    return {"listen": f"{host or '127.0.0.1'}:{port}"} | ({"secret": str(secret)} if secret else {})
