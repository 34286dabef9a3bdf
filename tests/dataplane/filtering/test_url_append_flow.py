"""`url_append_string`: what the far side is asked for then."""

from __future__ import annotations

from typing import ClassVar

import pytest
from filter_rig import Bench, Judge

from tunflow.providers.filter_provider import FilterControlProvider
from tunflow.providers.filter_verdicts import NewFlowVerdict
from tunflow.wire.tcp import ACK, FIN, PSH, SYN, Options

FIRST = b"GET /search?q=a HTTP/1.1\r\nHost: s.example\r\n\r\n"
SECOND = b"GET /search?q=b HTTP/1.1\r\nHost: s.example\r\n\r\n"
SAFE = "&safe=active"


class Strings(FilterControlProvider):
    url_append_string_map: ClassVar = {"safe": SAFE, "broken": "a b"}


def begin(make, key="safe", control=True, **more) -> Bench:
    bench = make(Judge(new=NewFlowVerdict.url_append_string(key)), **more)
    bench.filter.control = Strings() if control else None
    bench.establish()
    return bench


def appended(*requests):
    return b"".join(request.replace(b" HTTP/", SAFE.encode() + b" HTTP/") for request in requests)


def test_every_request_of_a_connection_is_changed(make):
    bench = begin(make)
    bench.send(ACK | PSH, seq=1, ack=1, payload=FIRST[:9])
    assert bench.far_has() is None
    bench.send(ACK | PSH, seq=10, ack=1, payload=FIRST[9:] + SECOND)
    assert bench.far_has() == appended(FIRST, SECOND)
    bench.far.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    bench.until(lambda: bench.client_has() == b"HTTP/1.1 200 OK\r\n\r\n")


def test_the_last_request_is_changed_although_its_end_comes_with_it(make):
    bench = begin(make)
    bench.send(ACK | PSH | FIN, seq=1, ack=1, payload=FIRST)
    assert bench.far_has() == appended(FIRST)
    assert bench.far_has() == b""


def test_what_is_not_http_passes_as_it_is(make):
    bench = begin(make)
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"\x16\x03\x01\x00\x05GET /")
    assert bench.far_has() == b"\x16\x03\x01\x00\x05GET /"


def test_a_request_that_the_end_cuts_off_does_not_pass_without_the_string(make):
    bench = begin(make)
    bench.send(ACK | PSH | FIN, seq=1, ack=1, payload=b"GET /search?q=a HTTP/1.0\r\nHost: a.example\r\n", window=512)
    with pytest.raises(ConnectionResetError):
        bench.far_has()
    assert bench.reset


def test_what_only_some_servers_understand_does_not_pass(make):
    bench = begin(make)
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"get  /search?q=a HTTP/1.1\r\nHost: s.example\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        bench.far_has()
    assert bench.reset


@pytest.mark.parametrize(
    ("key", "control", "told"),
    [("none", True, "no such key"), ("broken", True, "visible ASCII"), ("safe", False, "no control provider")],
)
@pytest.mark.parametrize("passes", [False, True])
def test_a_string_that_is_not_there_is_a_failure_of_the_filter(make, key, control, told, passes):
    bench = make(Judge(new=NewFlowVerdict.url_append_string(key)), on_failure_pass=passes)
    bench.filter.control = Strings() if control else None
    if passes:
        bench.establish()
        bench.send(ACK | PSH, seq=1, ack=1, payload=FIRST)
        assert bench.far_has() == FIRST
    else:
        bench.send(SYN, seq=0, options=Options(mss=1460, window_scale=7))
        bench.until(lambda: bench.reset)
    assert any(told in line for line in bench.lines)


def test_a_flow_that_was_changed_can_be_refused_later(make):
    bench = begin(make)
    bench.send(ACK | PSH, seq=1, ack=1, payload=FIRST)
    assert bench.far_has() == appended(FIRST)
    bench.filter.provider.new = NewFlowVerdict.drop()
    bench.filter.rules_changed()
    bench.run()
    assert bench.reset
