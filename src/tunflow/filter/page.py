"""The page that a blocked HTTP request gets."""

from __future__ import annotations

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


def block_page(
    template: str, *, host: str, url: str, why: str, category: str, how_to_ask: str, link: tuple[str, str] | None = None
) -> bytes:
    """A whole HTTP answer; `link` is a URL where one may ask for access, and the text that leads there.

    `$host`, `$url`, `$why`, `$category` and `$how_to_ask` in the template are replaced."""
    body = (
        Template(template)
        .safe_substitute(
            host=escape(host), url=escape(url), why=escape(why), category=f" ({escape(category)})" if category else "",
            how_to_ask=escape(how_to_ask) + (f' <a href="{escape(link[0])}">{escape(link[1])}</a>' if link else ""),
        )
        .encode()
    )  # fmt: skip
    head = (
        "HTTP/1.1 403 Forbidden\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
