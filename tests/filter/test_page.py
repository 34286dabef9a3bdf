"""The page that blocked requests get: its languages, and that nothing of it is anybody else's."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.filter.judge import Cause
from tunflow.filter.page import DEFAULT, PageFacts, block_page
from tunflow.filter.page_text import CHINESE, ENGLISH, text_for
from tunflow.sniff.http import accepted_languages_untrusted

NASTY = "\"><script>alert(1)</script>&x='y' $host ${why}"


class Page(HTMLParser):
    """What stands in a page."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        head, _, body = answer.partition(b"\r\n\r\n")
        self.head = head.decode()
        self.source = body.decode()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.said += data

    def attributes(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def page(words=ENGLISH, template=DEFAULT, **more):
    facts = {"host": NASTY, "url": f"http://{NASTY}/", "why": NASTY, "reason": NASTY, "category": NASTY}
    return Page(block_page(template, words, PageFacts(**facts), **more))


@pytest.mark.parametrize("words", [ENGLISH, CHINESE])
def test_what_others_chose_is_only_text(words):
    made = page(words, how_to_ask=NASTY, link=(f"https://ask.example/?{NASTY}", NASTY), button=(f"/{NASTY}", NASTY))
    assert not made.attributes("script")
    assert "<script" not in made.source
    assert made.said.count("<script>alert(1)</script>") == 8
    (link,), (form,) = made.attributes("a"), made.attributes("form")
    assert link["href"] == f"https://ask.example/?{NASTY}"
    assert form == {"method": "post", "action": f"/{NASTY}"}


@pytest.mark.parametrize("words", [ENGLISH, CHINESE])
def test_nothing_comes_from_elsewhere(words):
    made = page(words)
    for _, attributes in made.tags:
        assert not {"src", "srcset", "href", "data", "background"} & attributes.keys()
    assert "url(" not in made.source.partition("</style>")[0]
    assert "@import" not in made.source
    assert "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; form-action 'self'" in made.head


@pytest.mark.parametrize(("words", "tag"), [(ENGLISH, "en"), (CHINESE, "zh-Hans")])
def test_its_language_and_its_size_are_told(words, tag):
    made = page(words)
    assert made.attributes("html") == [{"lang": tag}]
    assert f"Content-Language: {tag}" in made.head
    assert "Vary: Accept-Language" in made.head
    assert f"Content-Length: {len(made.source.encode())}" in made.head
    names = {attributes.get("name") for attributes in made.attributes("meta")}
    assert names >= {"viewport", "color-scheme"}
    assert words.heading in made.said
    assert words.how_to_ask in made.said
    assert "$" not in made.source.replace("$host", "").replace("${why}", "").replace("<style>", "")


def test_both_languages_know_every_cause():
    assert ENGLISH.causes.keys() == CHINESE.causes.keys() == set(Cause)


@pytest.mark.parametrize(
    ("accepted", "words"),
    [
        ("", ENGLISH),
        ("zh-CN,zh;q=0.9,en;q=0.8", CHINESE),
        ("zh-TW", CHINESE),
        ("ZH", CHINESE),
        ("en-US,en;q=0.9,zh;q=0.8", ENGLISH),
        ("de,zh;q=0.5,en;q=0.3", CHINESE),
        ("de,fr;q=0.5", ENGLISH),
        ("zh;q=0,en", ENGLISH),
        ("zh;q=0", ENGLISH),
        ("en;q=0.2, zh ; q=0.7", CHINESE),
        ("zh;q=many", ENGLISH),
        ("zh;q=1e9,en", ENGLISH),
        ("*", ENGLISH),
        ("xx," * 5000 + "zh", ENGLISH),
    ],
)
def test_the_language_that_a_browser_wants(accepted, words):
    assert text_for(accepted) is words


@given(st.text(max_size=60))
def test_any_header_has_a_language(accepted):
    assert text_for(accepted) in (ENGLISH, CHINESE)


@pytest.mark.parametrize(
    ("request_", "accepted"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\naccept-LANGUAGE: \tzh-CN, en\r\n\r\n", "zh-CN, en"),
        (b"GET /Accept-Language: HTTP/1.1\r\nX-Accept-Language: zh\r\n\r\n", ""),
        (b"GET / HTTP/1.1\nAccept-Language:zh\n\n", "zh"),
        (b"GET / HTTP/1.1\r\nAccept-Language: \xff\xfe\r\n\r\n", "\xff\xfe"),
        (b"\x16\3\1", ""),
    ],
)
def test_where_it_says_so(request_, accepted):
    assert accepted_languages_untrusted(request_) == accepted


def test_a_template_of_ones_own():
    made = page(
        CHINESE,
        "<html lang=$lang>$host|$url|$why$category|$reason|$how_to_ask|$unknown",
        link=("https://a.example", "ask"),
    )
    assert "Content-Security-Policy" not in made.head
    assert made.attributes("a")
    assert made.said.endswith("|$unknown")
    assert made.attributes("html") == [{"lang": "zh-Hans"}]
