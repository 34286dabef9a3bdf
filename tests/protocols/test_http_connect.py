from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from talk import converse, hear, refusal_words

from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import BadPacket, LocalError
from tunflow.protocols.codec import ProxyRefused, Refusal
from tunflow.protocols.http.connect import HTTPConnectClient, basic

NAME = Endpoint("example.com", 443)
ASKED = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"


# RFC 9110 §9.3.6: any 2xx, and Content-Length in it is ignored; RFC 9112 §2.2: bare LF
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 Connection established\r\n\r\n",
        b"HTTP/1.0 200\r\nContent-Length: 7\r\nVia: x\r\n\r\n",
        b"HTTP/1.1 204 \nA: b\n\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_any_2xx_opens_the_tunnel(answer):
    converse(lambda: HTTPConnectClient(NAME), [(ASKED, answer)])


# RFC 7617 §2, whose example this is
def test_basic_authorization():
    value = basic("Aladdin", "open sesame")
    assert value == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    said = ASKED.replace(b"\r\n\r\n", b"\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n")
    converse(lambda: HTTPConnectClient(NAME, value), [(said, b"HTTP/1.1 200 OK\r\n\r\n")])
    with pytest.raises(LocalError, match="no colon"):
        basic("a:b", "c")


def test_ipv6_stands_in_brackets():
    said = b"CONNECT [2001:db8::1]:80 HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n"
    converse(lambda: HTTPConnectClient(endpoint("2001:db8::1", 80)), [(said, b"HTTP/1.1 200 OK\r\n\r\n")])


@pytest.mark.parametrize("name", ["a\r\nX: y", "a b", "ü", "\x7f"])
def test_a_name_cannot_smuggle_a_header(name):
    with pytest.raises(ProxyRefused):
        HTTPConnectClient(Endpoint(name, 1))


@pytest.mark.parametrize(
    ("line", "refusal", "words"),
    [
        (b"403 Filtered", Refusal.PROHIBITED, "403 Filtered"),
        (b"407 Proxy Authentication Required", Refusal.CREDENTIALS, "wants a user name and password"),
        (b"500 Unable to connect", Refusal.FAILED, "500 Unable to connect"),
        (b"502", Refusal.FAILED, "502"),
        (b"504 Late", Refusal.TIMED_OUT, "504 Late"),
        (b"302 \x1b[2Jx", Refusal.FAILED, "302 ?[2Jx"),
    ],
)
def test_refusals(line, refusal, words):
    with pytest.raises(ProxyRefused, match=re.escape(words)) as caught:
        hear(HTTPConnectClient(NAME), b"HTTP/1.1 " + line + b"\r\nContent-Length: 3\r\n\r\nbad", 2)
    assert caught.value.refusal is refusal


def test_refused_credentials_say_so_without_telling_them():
    with pytest.raises(ProxyRefused, match="407: it refused them") as caught:
        hear(HTTPConnectClient(NAME, basic("u", "hunter2")), b"HTTP/1.1 407 No\r\n\r\n")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n", b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\0" * 9])
def test_what_is_no_http_proxy(answer):
    with pytest.raises(BadPacket, match="not an HTTP proxy"):
        hear(HTTPConnectClient(NAME), answer, 1)


def test_a_header_without_end_is_given_up():
    with pytest.raises(BadPacket, match="no end"):
        hear(HTTPConnectClient(NAME), b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 4000, 1000)


@given(st.binary(max_size=300))
def test_any_answer_is_understood_or_refused(data):
    assert refusal_words(HTTPConnectClient(NAME), b"HTTP/1.1 " + data).isprintable()
