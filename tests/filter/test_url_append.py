"""A string behind every URL, whatever pieces the requests come in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.errors import BadPacket, LocalError
from tunflow.filter.url_append import URLAppender
from tunflow.sniff.http import Ambiguous

TEXT = "&safe=active"
STREAM = (
    b"GET /search?q=a HTTP/1.1\r\nHost: s.example\r\n\r\n"
    b"POST /form#part HTTP/1.1\r\nHost: s.example\r\nContent-Length: 22\r\n\r\nGET /no HTTP/1.1\r\n\r\n\r\n"
    b"GET http://s.example/x HTTP/1.1\r\nHost: s.example\r\n\r\n"
    b"OPTIONS * HTTP/1.1\r\nHost: s.example\r\n\r\n"
    b"PUT /c HTTP/1.1\r\nHost: s.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    b"GET / HTTP/1.1\r\nHost: s.example\r\n\r\n"
)
EXPECTED = (
    STREAM.replace(b"q=a ", b"q=a&safe=active ")
    .replace(b"/form#", b"/form&safe=active#")
    .replace(b"/x ", b"/x&safe=active ")
    .replace(b"/c ", b"/c&safe=active ")
    .replace(b"GET / ", b"GET /&safe=active ")
)


def run(stream: bytes, cuts: list[int], takes: list[int]) -> bytes:
    """What leaves when the stream comes in pieces, and what has passed is taken in others."""
    appender = URLAppender(TEXT)
    out, looked, taken = b"", 0, 0
    for end in [*sorted(cuts), len(stream)]:
        if looked < end:
            looked += appender.look_untrusted(looked, stream[looked:end]).passed
        size = min(takes.pop() if takes else end, min(looked, end) - taken)
        out += b"".join(appender.append([stream[taken : taken + size]]))
        taken += size
    return out + b"".join(appender.append([stream[taken:]]))


@given(st.lists(st.integers(0, len(STREAM))), st.lists(st.integers(0, 60)))
def test_every_request_gets_it_however_it_comes(cuts: list[int], takes: list[int]) -> None:
    assert run(STREAM, cuts, takes) == EXPECTED


def test_what_names_no_url_stays_as_it_is() -> None:
    tunnel = b"CONNECT s.example:443 HTTP/1.1\r\nHost: s.example\r\n\r\n"
    assert run(tunnel, [], []) == tunnel


@pytest.mark.parametrize("stream", [b"get  / HTTP/1.1\r\n\r\n", b"GET\t/ HTTP/1.1\r\n\r\n"])
def test_what_only_some_servers_take_for_a_request_is_ambiguous(stream: bytes) -> None:
    with pytest.raises(Ambiguous):
        URLAppender(TEXT).look_untrusted(0, stream)


def test_another_protocol_is_none() -> None:
    with pytest.raises(BadPacket) as caught:
        URLAppender(TEXT).look_untrusted(0, b"\x16\x03\x01\x02\x00\x01")
    assert not isinstance(caught.value, Ambiguous)


@pytest.mark.parametrize("text", ["", "a b", "x\r\nHost: other.example", "#top", "ä"])
def test_what_no_url_may_hold(text: str) -> None:
    with pytest.raises(LocalError, match="visible ASCII"):
        URLAppender(text)
