"""The page that a blocked HTTP request gets, and the button on it."""

from __future__ import annotations

import re
from html import escape
from string import Template

DEFAULT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Blocked: $host</title>
<style>body{font:1.1em/1.5 sans-serif;max-width:36em;margin:4em auto;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.5em}code{background:#eee;padding:.1em .3em}p.why{color:#555}</style></head>
<body><h1>This page is blocked</h1>
<p><code>$url</code></p>
<p class="why">$why$category</p>
<p>$how_to_ask</p></body></html>
"""
HOW_TO_ASK = "If you think this is wrong, ask whoever runs this network, and tell them the line above."

ASK_PATH = "/.well-known/tunflow/ask/"
"""Where a page's button posts to, on the refused site itself; a token follows."""
_ASKS = re.compile(rb"POST " + re.escape(ASK_PATH).encode() + rb"([0-9a-f]{32}) HTTP/1\.[01]\r?\n")
_START = b"POST " + ASK_PATH.encode()
_LONGEST_LINE = len(_START) + 64


def asked_token(request: bytes) -> str | None:
    """The token of a request that presses a button; None for all others."""
    found = _ASKS.match(request)
    return found[1].decode() if found is not None else None


def begins_to_ask(request: bytes) -> bool:
    """Whether bytes may be the beginning of a request that presses a button, and not the whole of its first line."""
    if len(request) < len(_START):
        return _START.startswith(request)
    return request.startswith(_START) and b"\n" not in request and len(request) < _LONGEST_LINE


def see_other(url: str) -> bytes:
    """A whole HTTP answer that leads to a URL (RFC 9110 §15.4.4)."""
    target = url.encode("latin-1", errors="replace")
    more = b"\r\nCache-Control: no-store\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    return b"HTTP/1.1 303 See Other\r\nLocation: " + target + more


def block_page(
    template: str,
    *,
    host: str,
    url: str,
    why: str,
    category: str,
    how_to_ask: str,
    link: tuple[str, str] | None = None,
    button: tuple[str, str] | None = None,
) -> bytes:
    """A whole HTTP answer. `link` is a URL where one may ask for access, and the text that leads there; `button` a path
    of the site to post to for it, and the text on it.

    `$host`, `$url`, `$why`, `$category` and `$how_to_ask` in the template are replaced."""
    asking = escape(how_to_ask)
    if link is not None:
        asking += f' <a href="{escape(link[0])}">{escape(link[1])}</a>'
    if button is not None:
        asking += f'<form method="post" action="{escape(button[0])}"><button>{escape(button[1])}</button></form>'
    body = (
        Template(template)
        .safe_substitute(
            host=escape(host), url=escape(url), why=escape(why), category=f" ({escape(category)})" if category else "",
            how_to_ask=asking,
        )
        .encode()
    )  # fmt: skip
    head = (
        "HTTP/1.1 403 Forbidden\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
