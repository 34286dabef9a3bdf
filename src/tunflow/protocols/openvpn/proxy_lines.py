"""The lines of a configuration that say which proxy a server is reached through: `http-proxy`, `socks-proxy`.

Read first: openvpn(8). Names and passwords come from a file, or from a block `<http-proxy-user-pass>`; a block
`<socks-proxy-user-pass>` is tunflow's own, for profiles that have their files inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tunflow.protocols.openvpn.config_file import ConfigFile, Line
from tunflow.protocols.openvpn.settings import Proxy

NAMES = frozenset({"http-proxy", "socks-proxy", "http-proxy-user-pass", "socks-proxy-user-pass"})
IN_BLOCK = frozenset({"auto", "auto-nct"})
"""What stands for the file where there is a block."""
SOCKS_PORT = 1080

_METHODS = ("none", "basic")


def proxy_of(said: Mapping[str, Line], transport: str, file: ConfigFile, read: Callable[[str], bytes]) -> Proxy | None:
    """The proxy that is said for a server reached by `transport`; None for none. Raises LocalError with file:line."""
    http, socks = said.get("http-proxy"), said.get("socks-proxy")
    if http is not None and socks is not None:
        raise file.wrong(socks, "there is an http-proxy too: take one of them out")
    if http is not None:
        if transport != "tcp":
            raise file.wrong(http, "an HTTP proxy carries TCP only: use `proto tcp`, or take the line out")
        method = http.words[4] if len(http.words) > 4 else "basic"
        if method not in _METHODS:
            raise file.wrong(http, f"{method!r} is none of {', '.join(_METHODS)}")
        user, password = ("", "") if method == "none" else _user(http, said.get("http-proxy-user-pass"), file, read)
        return Proxy("http", http.words[1], _port(http, http.words[2], file), user, password)
    if socks is not None:
        port = socks.words[2] if len(socks.words) > 2 else str(SOCKS_PORT)
        user, password = _user(socks, said.get("socks-proxy-user-pass"), file, read)
        return Proxy("socks", socks.words[1], _port(socks, port, file), user, password)
    return None


def _port(line: Line, text: str, file: ConfigFile) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 5 or not 0 < int(text) < 65536:
        raise file.wrong(line, f"{text!r} is no port from 1 to 65535")
    return int(text)


def _user(line: Line, block: Line | None, file: ConfigFile, read: Callable[[str], bytes]) -> tuple[str, str]:
    """Username and password, "" for none."""
    where = line.words[3] if len(line.words) > 3 else ""
    if block is not None and where in {"", *IN_BLOCK}:
        text = block.text or ""
    elif where in {*IN_BLOCK, "stdin"}:
        raise file.wrong(line, f"{where!r} asks for a password: name a file with it, or add a <{line.name}-user-pass>")
    elif where:
        text = read(where).decode(errors="replace")
    else:
        return "", ""
    rows = text.splitlines()
    if len(rows) < 2 or not rows[0]:
        raise file.wrong(line, "a username and a password are expected, on a line each")
    return rows[0], rows[1]
