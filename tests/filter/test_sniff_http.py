from __future__ import annotations

import pytest

from tunflow.errors import BadPacket
from tunflow.sniff.first_bytes import FirstBytes, sniff_untrusted
from tunflow.sniff.http import RequestHead, parse_request_untrusted

REQUEST = b"GET /path?q HTTP/1.1\r\nUser-Agent: x\r\nHOST: Www.Example.com:8080\r\nAccept: */*\r\n\r\nbody"


def test_the_host_is_found_as_soon_as_its_line_is_there() -> None:
    end = REQUEST.index(b"8080\r\n") + 6
    for size in range(end):
        assert parse_request_untrusted(REQUEST[:size]) is None
    found = RequestHead("GET", "/path?q", "www.example.com")
    assert parse_request_untrusted(REQUEST[:end]) == found
    assert parse_request_untrusted(REQUEST) == found
    assert sniff_untrusted(REQUEST) == FirstBytes("http", "www.example.com")


@pytest.mark.parametrize(
    ("request_", "host"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", None),
        (b"GET / HTTP/1.1\nHost: bare.example\n", "bare.example"),  # RFC 9112 §2.2: a lone LF may end a line
        (b"\r\nGET / HTTP/1.1\r\nHost: a.example\r\n", "a.example"),
        (b"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n", None),
        (b"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n", None),
        (b"GET / HTTP/1.1\r\nHost:\r\n", None),
        (b"GET http://u:p@abs.example:80/x HTTP/1.1\r\nHost: other.example\r\n", "abs.example"),
        (b"CONNECT con.example:443 HTTP/1.1\r\nHost: other.example\r\n", "con.example"),
        (b"OPTIONS * HTTP/1.1\r\nHost: a.example\r\n", "a.example"),
    ],
)
def test_every_form_of_target(request_: bytes, host: str | None) -> None:
    head = parse_request_untrusted(request_)
    assert head is not None
    assert head.host == host


@pytest.mark.parametrize(
    "stream",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"get / HTTP/1.1\r\n",
        b"\x00\x01",
        b"GET / HTTP/2.0\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"GET /a b HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n",
        b"A" * 30,
        b"EHLO.",
        b"GET /" + b"a" * 20000,
        b"GET / HTTP/1.1\r\nX: " + b"a" * 20000,
    ],
)
def test_what_is_no_request_is_refused(stream: bytes) -> None:
    with pytest.raises(BadPacket):
        parse_request_untrusted(stream)
    with pytest.raises(BadPacket):
        sniff_untrusted(stream)


def test_nothing_tells_nothing() -> None:
    assert sniff_untrusted(b"") is None
    assert parse_request_untrusted(b"") is None
