from __future__ import annotations

import pytest

from tunflow.filter.safe_search import safe_host


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("www.google.com", "forcesafesearch.google.com"),
        ("google.de", "forcesafesearch.google.com"),
        ("www.google.co.uk", "forcesafesearch.google.com"),
        ("www.google.com.br", "forcesafesearch.google.com"),
        ("www.google.cat", "forcesafesearch.google.com"),
        ("mail.google.com", None),
        ("google.example.com", None),
        ("notgoogle.com", None),
        ("forcesafesearch.google.com", None),
        ("www.youtube.com", "restrict.youtube.com"),
        ("youtubei.googleapis.com", "restrict.youtube.com"),
        ("www.bing.com", "strict.bing.com"),
        ("duckduckgo.com", "safe.duckduckgo.com"),
        ("example.com", None),
    ],
)
def test_strict_hosts(name: str, safe: str | None) -> None:
    assert safe_host(name) == safe
