from __future__ import annotations

import contextlib
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.http.target import authority_untrusted, http_uri_untrusted


@pytest.mark.parametrize(
    ("uri", "site", "authority", "path"),
    [
        ("http://example.com/a/b?c=d#e", Endpoint("example.com", 80), "example.com", "/a/b?c=d"),
        ("HTTP://u:p@Example.com:8080", Endpoint("Example.com", 8080), "Example.com:8080", ""),
        ("http://example.com?q", Endpoint("example.com", 80), "example.com", "/?q"),
        ("http://example.com:/", Endpoint("example.com", 80), "example.com:", "/"),
        ("http://[2001:db8::1]:81/", endpoint("2001:db8::1", 81), "[2001:db8::1]:81", "/"),
        ("http://192.0.2.1/@x:y", endpoint("192.0.2.1", 80), "192.0.2.1", "/@x:y"),
        ("http://a_b.example:00080/", Endpoint("a_b.example", 80), "a_b.example:00080", "/"),
    ],
)
def test_a_whole_uri_is_taken_apart(uri, site, authority, path):
    assert http_uri_untrusted(uri) == (site, authority, path)


NO_URIS = [
    "http://[]/",
    "http://[1.2.3.4]/",
    "http://u@]example.com/",
    "http://[::1]x/",
    "http://a[b/",
    "http://[::1/",
    "http://::1/",
    "http://[fe80::1%eth0]/",
    "http://[fe80::1%25eth0]/",
    "http://%65xample.com/",
    "http://a@b@c/",
    "http://a\\@b/",
    "http:///x",
    "http://:80/",
    "http://a:0/",
    "http://a:65536/",
    "http://a:99999999999999999999/",
    "http://a:+80/",
    "http://a:8_0/",
    "http://a:\u0668\u0660/",  # Arabic-Indic digits
    "http://\uff41/",
    "http://a b/",
    "http://a\n/",
    "http://" + "a" * 256 + "/",
    "https://a/",
    "ftp://a/",
    "http:a",
    "*",
    "",
]


@pytest.mark.parametrize("uri", NO_URIS)
def test_what_is_no_uri_of_a_site_is_a_bad_packet(uri):
    with pytest.raises(BadPacket):
        http_uri_untrusted(uri)


@pytest.mark.parametrize(
    "text", ["a", "a:", "a:0", "a:65536", "[]:1", "[::1%1]:1", "[1.2.3.4]:1", "a:1:2", "a/:1", "u@a:1", ""]
)
def test_a_tunnel_needs_a_host_and_a_port(text):
    with pytest.raises(BadPacket):
        authority_untrusted(text, None)


@given(st.text(), st.sampled_from(["", "http://", "http://["]))
def test_any_text_is_understood_or_a_bad_packet(text, prefix):
    for take in (http_uri_untrusted, partial(authority_untrusted, default_port=80)):
        with contextlib.suppress(BadPacket):
            take(prefix + text)
