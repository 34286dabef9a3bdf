"""Names of search engines and video sites, and the names under which they serve their strict modes.

The engines make these names for just that (Google's "Lock SafeSearch", YouTube's "Restricted Mode" for networks,
Bing's and DuckDuckGo's strict hosts): a resolver that answers the first with the addresses of the second holds
everybody behind it to the strict mode, and nothing needs to be decrypted.

Read first: support.google.com/websearch/answer/186669, support.google.com/a/answer/6214622 (YouTube),
help.bing.microsoft.com (strict.bing.com), duckduckgo.com/duckduckgo-help-pages/features/safe-search.
"""

from __future__ import annotations

import re

_GOOGLE = re.compile(r"(?:www\.)?google\.(?:com|cat|(?:com?\.)?[a-z]{2})")
"""The engine's names in all countries: google.de, google.co.uk, google.com.br."""

_NAMES = {
    **dict.fromkeys(
        ("youtube.com", "www.youtube.com", "m.youtube.com", "youtubei.googleapis.com", "youtube.googleapis.com",
         "www.youtube-nocookie.com"),
        "restrict.youtube.com",
    ),
    **dict.fromkeys(("bing.com", "www.bing.com"), "strict.bing.com"),
    **dict.fromkeys(
        ("duckduckgo.com", "www.duckduckgo.com", "start.duckduckgo.com", "html.duckduckgo.com", "lite.duckduckgo.com"),
        "safe.duckduckgo.com",
    ),
}  # fmt: skip


def safe_host(name: str) -> str | None:
    """The host that serves the strict mode of a host (in lower case, without a last dot); None where there is none."""
    found = _NAMES.get(name)
    if found is None and _GOOGLE.fullmatch(name):
        return "forcesafesearch.google.com"
    return found
