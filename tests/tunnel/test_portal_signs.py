"""Login pages are told from pages that say nothing, and lead no further than the web."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.errors import BadPacket
from tunflow.tunnel.portal_signs import (
    PageAnswer,
    Portal,
    PortalSign,
    all_point_home,
    is_clean,
    portal_of,
    portal_of_api_untrusted,
    redirect_untrusted,
)
from tunflow.tunnel.web_probe import answer_untrusted

PROBE = "http://probe.example/generate_204"


@pytest.mark.parametrize(
    "answer",
    [
        PageAnswer(204),
        PageAnswer(200, {}, b"success\n"),
        PageAnswer(200, {}, b"<HTML><HEAD><TITLE>Success</TITLE></HEAD><BODY>Success</BODY></HTML>"),
        PageAnswer(200, {}, b"NetworkManager is online\n"),
    ],
)
def test_clean(answer: PageAnswer) -> None:
    assert is_clean(answer)
    assert portal_of(PROBE, answer) is None


@pytest.mark.parametrize("status", [200, 401, 403, 511])
def test_another_page_is_a_login_page(status: int) -> None:
    assert portal_of(PROBE, PageAnswer(status, {}, b"<form>")) == Portal(PROBE, PortalSign.ANSWER)


@pytest.mark.parametrize("status", [404, 500, 502, 503, 100])
def test_a_broken_server_is_none(status: int) -> None:
    assert portal_of(PROBE, PageAnswer(status)) is None


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://login.example/a?b=c#d", "https://login.example/a?b=c#d"),
        ("/login", "http://probe.example/login"),
        ("//other.example/x", "http://other.example/x"),
        ("login?x", "http://probe.example/login?x"),
        ("http://10.0.0.1:8880/guest", "http://10.0.0.1:8880/guest"),
        ("file:///etc/passwd", None),
        ("javascript://x", None),
        ("http://a b/", None),
        ("", None),
        ("/" + "x" * 4000, None),
    ],
)
def test_redirects(location: str, target: str | None) -> None:
    answer = PageAnswer(302, {"location": location})
    assert redirect_untrusted(PROBE, answer) == target
    assert portal_of(PROBE, answer) == (None if target is None else Portal(target, PortalSign.ANSWER))


def test_the_networks_api() -> None:
    def api(**said: object) -> str | None:
        return portal_of_api_untrusted(json.dumps(said).encode())

    assert api(captive=True, **{"user-portal-url": "https://login.example/"}) == "https://login.example/"
    assert api(captive=True) == ""
    assert api(captive=True, **{"user-portal-url": "file:///etc/passwd"}) == ""
    assert api(captive=False, **{"user-portal-url": "https://login.example/"}) is None
    for wrong in (b"", b"[]", b'{"captive": 1}', b"[" * 100_000, b"\xff"):
        with pytest.raises(BadPacket):
            portal_of_api_untrusted(wrong)


def test_names_that_all_point_home() -> None:
    assert all_point_home({"a": ["10.0.0.1"], "b": ["10.0.0.1"]})
    assert not all_point_home({"a": ["10.0.0.1"]})
    assert not all_point_home({"a": ["10.0.0.1"], "b": ["10.0.0.2"]})
    assert not all_point_home({"a": ["8.8.8.8"], "b": ["8.8.8.8"]})
    assert not all_point_home({"a": [], "b": []})


def test_an_answer_of_a_web_server() -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: /x\r\nlocation: /y\r\nSet-Cookie: a=b; Path=/\r\n\r\n"
    assert answer_untrusted(head, b"") == PageAnswer(302, {"location": "/x", "set-cookie": "a=b; Path=/"})
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert is_clean(answer_untrusted(chunked, b"8\r\nsuccess\n\r\n0\r\n\r\n"))
    for wrong in (b"\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 x\r\n\r\n", b"HTTP/1.1 9999\r\n\r\n"):
        with pytest.raises(BadPacket):
            answer_untrusted(wrong, b"")


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_any_bytes(head: bytes, body: bytes) -> None:
    try:
        answer = answer_untrusted(head, body)
    except BadPacket:
        return
    portal_of(PROBE, answer)
