"""Numbers, addresses and URLs that others wrote: one documented error each, whatever they are."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.addresses import NotAnAddress, ip_address, ip_interface, ip_network
from tunflow.numbers import NotANumber, whole_number
from tunflow.urls import URL, NotAURL, parse_url


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("0080", 80), (b"65535", 65535)])
def test_numbers(text, number):
    assert whole_number(text, 65535) == number


@pytest.mark.parametrize(
    "text",
    ["", "65536", "1_0", "+1", "-1", " 1", "1\n", "\u0661", "\uff11", "1.0", "0x1", "1" * 10_000, b"\xb2", "\u00b2"],
)
def test_what_is_no_number(text):
    with pytest.raises(NotANumber):
        whole_number(text, 65535)


def test_numbers_of_other_bases():
    assert whole_number("fF", 255, base=16) == 255
    assert whole_number("17", 255, base=8) == 15
    with pytest.raises(NotANumber):
        whole_number("8", 255, base=8)


def test_a_zone_is_kept_only_where_it_is_wanted():
    assert str(ip_address("fe80::1%eth0", zone=True)) == "fe80::1%eth0"
    for take in (ip_address, lambda text: ip_interface(f"{text}/64")):
        with pytest.raises(NotAnAddress):
            take("fe80::1%eth0")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("http://a.Example:81/x?y#z", URL("http", None, "a.example", 81, "/x", "y")),
        ("HTTPS://u:p@[2001:DB8::1]", URL("https", "u:p", "2001:db8::1", None, "", "")),
        ("//a:", URL("", None, "a", None, "", "")),
        ("http://[fe80::1%25eth0]/", URL("http", None, "fe80::1%25eth0", None, "/", "")),
        ("file:/x", URL("file", None, "", None, "/x", "")),
    ],
)
def test_urls(text, parts):
    assert parse_url(text) == parts


def test_what_a_request_says_of_a_url():
    url = parse_url("http://u:secret@[::1]:81?q")
    assert (url.where, url.target) == ("[::1]:81", "/?q")


@pytest.mark.parametrize(
    "text",
    [
        "http://[]/",
        "http://[1.2.3.4]/",
        "http://u@]a/",
        "http://[::1]x/",
        "http://a[b/",
        "https://[",
        "http://a:99999/",
        "http://a:1:2/",
        "http://a:\u0661/",
        "http://a:8_0/",
        "http://a\n/",
        "http://a b/",
        "http://\x00/",
    ],
)
def test_what_is_no_url(text):
    with pytest.raises(NotAURL):
        parse_url(text)


@given(st.text())
def test_any_text_has_the_documented_error_or_none(text):
    for take, error in (
        (lambda text: whole_number(text, 10), NotANumber),
        (ip_address, NotAnAddress),
        (ip_network, NotAnAddress),
        (ip_interface, NotAnAddress),
        (parse_url, NotAURL),
        (lambda text: parse_url(f"http://[{text}"), NotAURL),
    ):
        with contextlib.suppress(error):
            take(text)
