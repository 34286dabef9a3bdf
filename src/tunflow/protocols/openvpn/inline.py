"""A configuration with the files that it names inside: one text that can be kept anywhere."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

from tunflow.protocols.openvpn.config_file import split_words
from tunflow.protocols.openvpn.directives import INLINE
from tunflow.protocols.openvpn.proxy_lines import IN_BLOCK

_BINARY = frozenset({"pkcs12"})
_FILES = INLINE - {"connection", "dh", "peer-fingerprint", "http-proxy-user-pass", "socks-proxy-user-pass"}
"""Directives whose first word is a file's name."""
_PROXIES = frozenset({"http-proxy", "socks-proxy"})
"""Directives whose third word is a file's name, unless it is one of `proxy_lines`."""


def with_files_inline(text: str, read: Callable[[str], bytes]) -> str:
    """The text with each named file as a block. The text must have been understood before. `read` raises LocalError."""
    rows: list[str] = []
    inside = ""
    for row in text.splitlines():
        stripped = row.strip()
        if inside:
            inside = "" if stripped == f"</{inside}>" else inside
            rows.append(row)
        elif stripped.startswith("<") and stripped.endswith(">"):
            inside = stripped[1:-1] if stripped[1:-1] != "connection" and not stripped.startswith("</") else ""
            rows.append(row)
        else:
            rows += _row(row, stripped, read)
    return "\n".join(rows) + "\n"


def _row(row: str, stripped: str, read: Callable[[str], bytes]) -> list[str]:
    words = split_words(stripped)
    name = words[0].removeprefix("--") if words else ""
    if name in _PROXIES and len(words) > 3 and words[3] not in IN_BLOCK:
        block = [f"<{name}-user-pass>", *read(words[3]).decode(errors="replace").splitlines()[:2]]
        return [*block, f"</{name}-user-pass>", " ".join([*words[:3], "auto", *words[4:]])]
    if name not in _FILES or len(words) < 2 or words[1] == "[inline]":
        return [row]
    data = read(words[1])
    body = b64encode(data).decode() if name in _BINARY else data.decode(errors="replace").rstrip("\n")
    block = [f"<{name}>", *body.splitlines(), f"</{name}>"]
    return [*block, f"key-direction {words[2]}"] if name == "tls-auth" and len(words) > 2 else block
