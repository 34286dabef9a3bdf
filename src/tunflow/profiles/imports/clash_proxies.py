"""Clash's `proxies`: the link of each, and the chains that `dialer-proxy` makes of them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from tunflow.errors import LocalError

_PROXY_KEYS = {
    "ss": frozenset({"cipher", "password"}),
    "socks5": frozenset({"username", "password"}),
    "http": frozenset({"username", "password", "tls"}),
    "direct": frozenset(),
    "reject": frozenset(),
}
_COMMON_KEYS = frozenset({"name", "type", "server", "port", "udp", "tfo", "mptcp", "ip-version"})
TRUE = {"true", "yes", "on"}


def link_of(proxy: dict[str, Any]) -> str:
    """The link of one entry of `proxies`. Raises LocalError for what we do not have."""
    kind = proxy.get("type")
    if kind is None or isinstance(kind, dict | list):
        raise LocalError("type is missing" if kind is None else "type is not supported")
    if kind not in _PROXY_KEYS:
        raise LocalError(f"type {kind} is not supported; {', '.join(_PROXY_KEYS)} are")
    if odd := [key for key, value in proxy.items() if not isinstance(value, str | None)]:
        raise LocalError(f"{', '.join(odd)} is not supported")
    if kind in {"direct", "reject"}:
        return "direct://" if kind == "direct" else "block://"
    unknown = [
        key
        for key, value in proxy.items()
        if key not in _COMMON_KEYS | _PROXY_KEYS[kind] and str(value).lower() not in {"false", "none", ""}
    ]
    if unknown:
        raise LocalError(f"{', '.join(unknown)} is not supported for {kind}")
    server, port = proxy.get("server"), proxy.get("port")
    if not isinstance(server, str) or not isinstance(port, str):
        raise LocalError("server and port are missing")
    where = f"[{server}]:{port}" if ":" in server else f"{quote(server, safe='')}:{port}"
    tag = f"#{quote(str(proxy['name']), safe='')}"
    if kind == "ss":
        if not proxy.get("cipher") or not proxy.get("password"):
            raise LocalError("cipher and password are missing")
        return f"ss://{quote(proxy['cipher'], safe='')}:{quote(proxy['password'], safe='')}@{where}{tag}"
    scheme = "https" if kind == "http" and str(proxy.get("tls", "")).lower() in TRUE else kind
    user = proxy.get("username")
    sign_in = f"{quote(user, safe='')}:{quote(proxy.get('password') or '', safe='')}@" if user else ""
    return f"{scheme}://{sign_in}{where}{tag}"
