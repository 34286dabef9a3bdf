from __future__ import annotations

import pytest

from tunflow.filter.safe_search import SafeSearch, known_engines, rewritten_hosts


@pytest.mark.parametrize(
    ("name", "strict"),
    [
        ("www.google.com", "forcesafesearch.google.com"),
        ("google.de", "forcesafesearch.google.com"),
        ("www.google.co.uk", "forcesafesearch.google.com"),
        ("www.google.com.br", "forcesafesearch.google.com"),
        ("www.google.cat", "forcesafesearch.google.com"),
        ("mail.google.com", None),
        ("google.example.com", None),
        ("www.google.example", None),
        ("google", None),
        ("notgoogle.com", None),
        ("forcesafesearch.google.com", None),
        ("www.youtube.com", "restrict.youtube.com"),
        ("youtubei.googleapis.com", "restrict.youtube.com"),
        ("www.bing.com", "strict.bing.com"),
        ("edgeservices.bing.com", "strict.bing.com"),
        ("duckduckgo.com", "safe.duckduckgo.com"),
        ("www.ecosia.org", "strict-safe-search.ecosia.org"),
        ("pixabay.com", "safesearch.pixabay.com"),
        *(
            (f"yandex.{end}", "familysearch.yandex.ru")
            for end in ("ru", "com", "com.tr", "kz", "by", "eu", "co.il", "net")
        ),
        *((f"www.yandex.{end}", "familysearch.yandex.ru") for end in ("ru", "com", "com.tr", "kz", "uz")),
        ("ya.ru", "familysearch.yandex.ru"),
        ("mail.yandex.ru", None),
        ("familysearch.yandex.ru", None),
        ("search.brave.com", "forcesafe.search.brave.com"),
        ("api.qwant.com", "safeapi.qwant.com"),
        ("example.com", None),
    ],
)
def test_strict_hosts(name: str, strict: str | None) -> None:
    assert known_engines().strict_host(name) == strict


def test_no_strict_host_has_one_itself() -> None:
    engines = known_engines()
    for strict in {*engines.hosts.values(), *engines.anywhere.values()}:
        assert engines.strict_host(strict) is None


@pytest.mark.parametrize("line", ["www.google.com", "= strict.example", "a b = c d"])
def test_lines_that_are_none(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        SafeSearch.of([line])


def test_lists_of_rewritten_names() -> None:
    lines = [
        "# Bing",
        "|www.bing.com^$dnsrewrite=NOERROR;CNAME;stricter.bing.com",
        "||new.example^$dnsrewrite=NOERROR;CNAME;strict.new.example",
        "|yandex.ru^$dnsrewrite=NOERROR;A;213.180.193.56",
        "|*.example^$dnsrewrite=NOERROR;CNAME;x.example",
        "|a.example^$dnsrewrite=NOERROR;CNAME;a b",
        "nothing",
    ]
    found = rewritten_hosts(lines)
    assert found == {"www.bing.com": "stricter.bing.com", "new.example": "strict.new.example"}
    both = known_engines().with_hosts(found)
    assert both.strict_host("new.example") == "strict.new.example"
    assert both.strict_host("www.bing.com") == "stricter.bing.com"
    assert both.strict_host("yandex.ru") == "familysearch.yandex.ru"
