"""Every request on a connection, however it is cut and whatever a client tries."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.errors import BadPacket
from tunflow.sniff.http import ALL, LARGEST_HEAD, Ambiguous, HTTPRequests

GET = b"GET /a?b HTTP/1.1\r\nHost: one.example\r\n\r\n"
POST = b"POST /up HTTP/1.1\r\nHost: Two.Example.:8080\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /c HTTP/1.1\r\nHost: three.example\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    b"5;ext=1\r\nGET /\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
)
ABSOLUTE = b"GET http://user@four.example:81/p HTTP/1.1\r\nHost: four.example\r\n\r\n"
STREAM = GET + POST + CHUNKED + ABSOLUTE + b"\r\n" + GET
HOSTS = ["one.example", "two.example", "three.example", "four.example", "one.example"]


def walk(stream, cuts=()):
    """All requests, the machine being shown what has arrived and not passed, up to each cut in turn."""
    machine, found, at, passed = HTTPRequests(), [], 0, 0
    for end in [*cuts, len(stream)]:
        at = max(at, end)
        while at > passed:
            step = machine.look_untrusted(stream[passed:at])
            found += step.requests
            if not step.passed:
                break
            passed += step.passed
    return found, passed


def test_all_requests_of_a_pipeline():
    found, passed = walk(STREAM)
    assert [request.hosts for request in found] == [(host,) for host in HOSTS]
    assert [request.url_of(request.hosts[0], 80) for request in found[:2]] == [
        "http://one.example/a?b",
        "http://two.example/up",
    ]
    assert found[3].target == "/p"
    assert passed == len(STREAM)


def test_the_same_request_again():
    """It is found each time; with a body, or behind one, its bytes mean something else."""
    machine = HTTPRequests()
    steps = [machine.look_untrusted(GET) for _ in range(3)]
    assert steps[0].requests == steps[2].requests
    assert machine.target_ends == [8]
    assert len(machine.look_untrusted(GET + GET).requests) == 2
    assert len(machine.look_untrusted(GET).requests) == 1
    body = CHUNKED.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    assert machine.look_untrusted(body).requests[0].hosts == ("three.example",)
    with pytest.raises(Ambiguous):
        machine.look_untrusted(GET)


def test_trailers_that_are_to_come_are_waited_for_on_every_connection():
    """A second one was taken to be at its next request, and what a server found behind the trailers to be its body."""
    begun = CHUNKED[: CHUNKED.index(b"Trailer: x")]
    trailers = b"POST / HTTP/1.1\r\nHost: three.example\r\nContent-Length: 500\r\n\r\n"
    for _ in range(3):
        machine = HTTPRequests()
        assert [request.hosts for request in machine.look_untrusted(begun).requests] == [("three.example",)]
        assert [request.hosts for request in machine.look_untrusted(trailers + GET).requests] == [("one.example",)]


def test_what_another_connection_asked_for_first_is_read_as_if_it_were_new():
    """So is what follows it there: requests that are cut, that have bodies, that name another protocol."""
    upgrade = b"GET /w HTTP/1.1\r\nHost: one.example\r\nUpgrade: websocket\r\n\r\n"
    for first in (GET, POST, ABSOLUTE, upgrade, CHUNKED, GET[:-2], GET + POST):
        for then in (GET, POST, upgrade, CHUNKED + GET, ABSOLUTE[:-1], b"\x00\x01"):
            found = []
            for _ in range(3):
                machine, steps = HTTPRequests(), []
                for data in (first, then):
                    try:
                        steps.append((machine.look_untrusted(data), list(machine.target_ends), machine.is_cut))
                    except BadPacket as error:
                        steps.append(str(error))
                found.append(steps)
            assert found[0] == found[1] == found[2]


def test_byte_by_byte():
    assert walk(STREAM, range(1, len(STREAM))) == walk(STREAM)


@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=9).map(sorted))
def test_cut_anywhere(cuts):
    assert walk(STREAM, cuts) == walk(STREAM)


@pytest.mark.parametrize(
    ("head", "hosts"),
    [
        (b"GET / HTTP/1.1\nHost: lf.example\n\n", ("lf.example",)),
        (b"GET / HTTP/1.1\r\nHost : space.example\r\n\r\n", ("space.example",)),
        (b"GET / HTTP/1.1\r\nHost:\r\n folded.example\r\n\r\n", ("folded.example",)),
        (b"GET / HTTP/1.1\r\nhOsT: UPPER.example\r\n\r\n", ("upper.example",)),
        (b"GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n", ("a.example", "b.example")),
        (b"GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", ("b.example", "a.example")),
        (b"get / HTTP/1.0\r\n\r\n", ()),
        (b"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", ("2001:db8::1",)),
        (b"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n", ("192.0.2.1",)),
    ],
)
def test_names_in_every_disguise(head, hosts):
    (request,) = walk(head)[0]
    assert request.hosts == hosts


@pytest.mark.parametrize(
    "head",
    [b"CONNECT x.example:443 HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x.example\r\nUpgrade: websocket\r\n\r\n"],
)
def test_what_follows_another_protocol_is_not_http(head):
    step = HTTPRequests().look_untrusted(head + b"\x16\x03\x01")
    assert step.passed == ALL
    assert step.requests[0].hosts == ("x.example",)


def test_a_request_with_any_method_is_found_behind_an_upgrade_however_it_is_cut():
    """A server that declines takes it, whatever token its method is (RFC 9110, section 9.1); nothing else is held."""
    upgrade = b"GET / HTTP/1.1\r\nHost: one.example\r\nUpgrade: x\r\n\r\n"
    for method in (b"GET", b"get", b"1GET", b"!", b"~x"):
        stream = upgrade + method + b" / HTTP/1.1\r\nHost: two.example\r\n\r\n"
        for cut in range(len(upgrade), len(stream)):
            found, _ = walk(stream, [cut])
            assert [request.hosts[0] for request in found] == ["one.example", "two.example"], (method, cut)
    for other in (b"\x16", b"\x81\x05hello", b"!\x00 x", b"1\x00"):
        assert walk(upgrade + other)[1] == ALL


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 5, 6\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        # What some servers take for the end of a line, of a name or of a chunk, and others do not.
        b"GET / HTTP/1.1\r\nX: y\rHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: y\0\r\n\r\n",
        b"GET / HTTP/1.1\r\nX\0: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: y\r\n Host: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\x85X: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length : 5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\nContent-Length: 5\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX : y\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding\t: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x:80@y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x@y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x:80:y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n",
        b"CONNECT http://x/ HTTP/1.1\r\n\r\n",
        b"CONNECT u@x:1 HTTP/1.1\r\n\r\n",
        b"GET http://x:80:y/ HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxyz",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;\nx\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\r\nx\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\r\n",
    ],
)
def test_smuggling_is_refused(head):
    with pytest.raises(Ambiguous):
        walk(head)


@pytest.mark.parametrize(
    "stream", [b"\x16\x03\x01\x02\x00", b"SSH-2.0-x\r\n", b"GET / HTTP/9\r\n\r\n\r\n", b"GET /" + b"a" * LARGEST_HEAD]
)
def test_what_is_not_http(stream):
    with pytest.raises(BadPacket):
        walk(stream + b"\r\n\r\n")


def test_a_body_of_any_size_is_not_held():
    step = HTTPRequests().look_untrusted(b"PUT / HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\n")
    assert step.passed > 1_000_000_000_000


@given(st.binary(max_size=300))
def test_anything_else_is_bad_packet(data):
    with contextlib.suppress(BadPacket):
        HTTPRequests().look_untrusted(data)


def test_a_head_that_goes_on_behind_the_one_before_is_another():
    """Heads that begin as the last one did: with more fields, other line ends, empty, cut, or a body behind."""
    heads = [b"Host: x.example\r\n\r\n", b"Host: x.example\n\n", b"Host: x.example\n\r\n", b"\r\n", b"\n"]
    heads += [b"Host: x.example\r\nHost: y.example\r\n\r\n", b"Host: x.example\r\n \r\n\r\n", b"Host: x.example\r\n\r"]
    heads += [b"Host: x.example\r\nContent-Length: 3\r\n\r\nabc", b"Host: x.example\r\n\r\nGET / HTTP/1.1\r\n\n"]

    def look(machine, data):
        try:
            return machine.look_untrusted(data)
        except BadPacket as error:
            return str(error)

    for before in heads:
        for then in heads:
            machine = HTTPRequests()
            look(machine, b"GET /before HTTP/1.1\r\n" + before)
            data = b"GET /%d HTTP/1.1\r\n" % len(before) + then
            assert look(machine, data) == look(HTTPRequests(), data)


def test_fields_that_are_the_same_again_are_read_once_and_others_anew():
    machine = HTTPRequests()
    lines = [
        b"GET /a HTTP/1.1\r\nHost: x.example\r\n\r\n",
        b"GET /b HTTP/1.1\r\nHost: x.example\r\n\r\n",
        b"GET http://y.example/c HTTP/1.1\r\nHost: x.example\r\n\r\n",
        b"GET /d HTTP/1.1\r\nHost: z.example\r\n\r\n",
        b"POST /e HTTP/1.1\r\nHost: x.example\r\nContent-Length: 2\r\n\r\nab",
        b"POST /f HTTP/1.1\r\nHost: x.example\r\nContent-Length: 2\r\n\r\nab",
        b"GET /g HTTP/1.1\r\n\r\n",
    ]
    asked = [request for line in lines for request in machine.look_untrusted(line).requests]
    alone = [request for line in lines for request in HTTPRequests().look_untrusted(line).requests]
    assert asked == alone
    assert [request.hosts for request in asked] == [
        ("x.example",), ("x.example",), ("y.example", "x.example"), ("z.example",), ("x.example",), ("x.example",), (),
    ]  # fmt: skip
