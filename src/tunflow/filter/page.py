"""The page that a blocked HTTP request gets, and the button on it."""

from __future__ import annotations

import re
from html import escape
from string import Template
from typing import NamedTuple

from tunflow.filter.page_text import PageText

DEFAULT = """<!doctype html>
<html lang="$lang"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark"><title>$title</title>
<style>
:root{--ink:#1d2330;--soft:#5b6472;--paper:#f3f5f8;--card:#fff;--edge:#d9dee6;--mark:#b3261e;--button:#1f5fbf}
@media(prefers-color-scheme:dark){
:root{--ink:#e8eaee;--soft:#a3abb8;--paper:#14171c;--card:#1e2229;--edge:#343a45;--mark:#ff8a80;--button:#7fb0ff}
button,.ask{color:#10131a!important}}
*{box-sizing:border-box}
body{margin:0;padding:1rem;min-height:100vh;display:grid;place-items:center;background:var(--paper);color:var(--ink);
font:1.0625rem/1.6 system-ui,-apple-system,"Segoe UI","Noto Sans","Noto Sans CJK SC","Microsoft YaHei",sans-serif}
main{width:100%;max-width:36rem;background:var(--card);border:1px solid var(--edge);border-top:.3rem solid var(--mark);
border-radius:.6rem;padding:clamp(1.2rem,5vw,2.4rem);overflow-wrap:anywhere}
h1{font-size:1.5rem;line-height:1.3;margin:0 0 .6rem}
p{margin:.8rem 0}
p:empty{display:none}
.url{color:var(--soft)}
.why{font-size:1.125rem}
.details{margin:1.6rem 0 0;padding-top:.8rem;border-top:1px solid var(--edge);color:var(--soft);font-size:.875rem}
button,.ask{display:inline-block;font:inherit;font-weight:600;padding:.6rem 1.2rem;border:0;border-radius:.4rem;
background:var(--button);color:#fff;text-decoration:none;cursor:pointer}
form{margin:.8rem 0}
</style></head>
<body><main><h1>$heading</h1>
<p class="url">$url</p>
<p class="why">$reason</p>
<p>$category_line</p>
<p>$how_to_ask</p>
$asking
<p class="details">$details $why</p>
</main></body></html>
"""
"""Nothing of it comes from elsewhere: what is blocked cannot be asked for more."""
LONGEST_URL = 300
"""Characters shown of a URL."""
_POLICY = "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; form-action 'self'\r\n"

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
    """Return True if bytes may be the beginning of the first line of a request that presses a button."""
    if len(request) < len(_START):
        return _START.startswith(request)
    return request.startswith(_START) and b"\n" not in request and len(request) < _LONGEST_LINE


def see_other(url: str) -> bytes:
    """A whole HTTP answer that leads to a URL (RFC 9110 §15.4.4)."""
    target = url.encode("latin-1", errors="replace")
    more = b"\r\nCache-Control: no-store\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    return b"HTTP/1.1 303 See Other\r\nLocation: " + target + more


class PageFacts(NamedTuple):
    """What a page is about."""

    host: str
    url: str
    why: str
    """For the person who runs the network: list and line, or a reason in short."""
    reason: str
    """For the person who sees the page."""
    category: str = ""


def _shortened(url: str) -> str:
    return url if len(url) <= LONGEST_URL else f"{url[:LONGEST_URL]}…"


def block_page(
    template: str,
    words: PageText,
    blocked: PageFacts,
    *,
    how_to_ask: str = "",
    link: tuple[str, str] | None = None,
    button: tuple[str, str] | None = None,
) -> bytes:
    """A whole HTTP answer. `link` is a URL where one may ask for access, and the text that leads there; `button` a path
    of the site to post to for it, and the text on it.

    In the template `$host`, `$url`, `$why`, `$reason`, `$category` and `$how_to_ask` are replaced, and the words of the
    default one.
    """
    asking = ""
    if link is not None:
        asking = f'<p><a class="ask" href="{escape(link[0])}">{escape(link[1])}</a></p>'
    if button is not None:
        asking += f'<form method="post" action="{escape(button[0])}"><button>{escape(button[1])}</button></form>'
    how = escape(how_to_ask or words.how_to_ask)
    category = escape(blocked.category)
    is_default = template is DEFAULT
    body = (
        Template(template)
        .safe_substitute(
            lang=words.language, title=words.title.format(host=escape(blocked.host)), heading=words.heading,
            host=escape(blocked.host), url=escape(_shortened(blocked.url)), why=escape(blocked.why),
            reason=escape(blocked.reason),
            category=f" ({category})" if category else "",
            category_line=words.category.format(category=category) if category else "",
            how_to_ask=how if is_default else how + asking, asking=asking, details=words.details,
        )
        .encode(errors="replace")
    )  # fmt: skip
    head = (
        "HTTP/1.1 403 Forbidden\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n"
        f"Content-Language: {words.language}\r\nVary: Accept-Language\r\n{_POLICY if is_default else ''}"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
