"""URLs as servers read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.sniff.url_form import served_target, target_text, url_of


@pytest.mark.parametrize(
    ("target", "served"),
    [
        ("/big", None),
        ("/", None),
        ("/a/b?c=d&e", None),
        ("/%62ig", "/big"),
        ("//big", "/big"),
        ("/./big", "/big"),
        ("/a/../big", "/big"),
        ("/../../big", "/big"),
        ("/a/..%2Fbig", "/big"),
        ("/a\\..\\big", "/big"),
        ("/a/b/..", "/a/"),
        ("/a//", "/a/"),
        ("/big#part", "/big"),
        ("/big%3Fx", "/big?x"),
        ("/a%20b", None),
        ("/b%C3%BCcher", None),
        ("/b%c3%bccher", "/b%C3%BCcher"),
        ("/%", None),
        ("/a?x=%67ame", "/a?x=game"),
        ("/a?u=http://b/../c", None),
    ],
)
def test_how_a_server_reads_a_target(target, served):
    assert served_target(target) == served


@given(st.text("ab/.%25\\#?", max_size=20))
def test_it_is_a_path_in_which_nothing_is_twisted_but_what_was_twisted_twice(text):
    served = served_target("/" + text) or "/" + text
    path = served.partition("?")[0]
    assert path.startswith("/")
    assert "//" not in path
    assert {".", ".."}.isdisjoint(path.split("/"))


def test_bytes_that_are_not_ascii():
    assert target_text("/bücher".encode()) == "/b%C3%BCcher"


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("a.example", 80, "http://a.example/x"),
        ("a.example", 8080, "http://a.example:8080/x"),
        ("2001:db8::1", 80, "http://[2001:db8::1]/x"),
    ],
)
def test_a_whole_url(host, port, url):
    assert url_of(host, port, "/x") == url
