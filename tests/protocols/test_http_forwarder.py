"""A client's requests in, the sites' requests out; and back. No sockets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.endpoint import Endpoint
from tunflow.protocols.codec import Refusal
from tunflow.protocols.http.answers import local_page
from tunflow.protocols.http.forwarder import Forwarder

A = Endpoint("a.example", 80)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Caller:
    """Does what the machine asks for."""

    def __init__(self, known=None):
        self.machine = Forwarder(lambda path: local_page("127.0.0.1:1080", path), known)
        self.dialled = []
        self.to_client = b""
        self.to_site = b""
        """What the site of the moment has got."""

    def client(self, data, step=None):
        step = step or max(1, len(data))
        for at in range(0, max(1, len(data)), step):
            self.machine.from_client_untrusted(data[at : at + step])
            self.go_on()

    def site(self, data):
        self.machine.from_site_untrusted(data)
        self.go_on()

    def go_on(self):
        machine = self.machine
        more = True
        while more:
            more = machine.advance()
            if machine.dial is not None:
                self.dialled.append(machine.dial)
                self.to_site = b""
                machine.dial, machine.hang_up = None, False
                machine.dialled()
                more = True
            self.to_site += b"".join(machine.to_site)
            machine.to_site.clear()
            self.to_client += b"".join(machine.to_client)
            machine.to_client.clear()


def asked(request, known=None):
    """What a site gets to see of one request."""
    caller = Caller(known)
    caller.client(request)
    assert not caller.machine.complaint
    return caller.to_site


@pytest.mark.parametrize(
    ("request_head", "seen"),
    [
        # RFC 9112 §3.2.2: the URI says who is asked, whatever Host says
        (
            b"GET http://u:p@a.example:81/x?y#z HTTP/1.1\r\nHost: b.example\r\n\r\n",
            b"GET /x?y HTTP/1.1\r\nHost: a.example:81\r\n\r\n",
        ),
        (b"GET http://a.example HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"),
        # RFC 9110 §7.6.1
        (
            b"GET http://a.example/ HTTP/1.1\r\nHost: x\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nX-End: 2\r\n"
            b"Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nUpgrade: websocket\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.example\r\nX-End: 2\r\n\r\n",
        ),
        (
            b"GET http://a.example/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic\r\n dTpw\r\nX-End: 2\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.example\r\nX-End: 2\r\n\r\n",
        ),
        # the framing stays, whatever Connection says
        (
            b"POST http://a.example/ HTTP/1.1\r\nHost: x\r\nConnection: Content-Length, Host\r\n"
            b"Content-Length: 2\r\n\r\nhi",
            b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi",
        ),
        # RFC 9112 §3.2.4
        (b"OPTIONS http://a.example HTTP/1.1\r\nHost: x\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n"),
        (b"OPTIONS http://a.example/ HTTP/1.1\r\nHost: x\r\n\r\n", b"OPTIONS / HTTP/1.1\r\nHost: a.example\r\n\r\n"),
        # RFC 9110 §7.6.2
        (
            b"OPTIONS http://a.example HTTP/1.1\r\nHost: x\r\nMax-Forwards: 3\r\n\r\n",
            b"OPTIONS * HTTP/1.1\r\nHost: a.example\r\nMax-Forwards: 2\r\n\r\n",
        ),
        # RFC 9110 §7.8, §10.1.1
        (
            b"GET http://a.example/ HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n"
            b"Upgrade: websocket\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        ),
        (
            b"PUT http://a.example/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
            b"PUT / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        ),
        (
            b"PUT http://a.example/ HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
            b"PUT / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\n",
        ),
    ],
)
def test_what_a_site_gets_to_see(request_head, seen):
    assert asked(request_head) == seen


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET http://[]/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET https://a/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"CONNECT a.example HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET http://a/ HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400),
        (b"POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
        (b"POST http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000, 431),
        (b"OPTIONS http://a/ HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", 200),
        (b"TRACE http://a/ HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", 405),
        (b"GET /proxy.pac HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    ],
)
def test_what_is_answered_here(head, status):
    caller = Caller()
    caller.client(head)
    assert caller.to_client.startswith(b"HTTP/1.1 %d " % status)
    assert caller.machine.over
    assert caller.to_site == b""


def test_no_words_of_a_client_stand_in_the_log_or_in_an_answer():
    caller = Caller()
    caller.client(b"GET http://a/ HTTP/1.1\r\nHost: a\r\nProxy-Authorization : Basic c2VjcmV0\r\n\r\n")
    assert "secret" not in str(caller.machine.complaint)
    assert b"c2VjcmV0" not in caller.to_client + str(caller.machine.complaint).encode()


def test_the_hops_own_fields_do_not_come_back():
    caller = Caller()
    caller.client(b"GET http://a.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
    caller.site(
        b"HTTP/1.1 200 Fine\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n"
        b"Set-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"
    )
    assert caller.to_client == b"HTTP/1.1 200 Fine\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"


def test_426_says_what_is_wanted():
    caller = Caller()
    caller.client(b"GET http://a.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
    caller.site(
        b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n"
    )
    assert b"\r\nUpgrade: TLS/1.0\r\n" in caller.to_client


@pytest.mark.parametrize(
    ("request_head", "answer", "told"),
    [
        (
            b"HEAD http://a.example/ HTTP/1.1\r\nHost: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
            b"Content-Length: 9\r\n\r\n",
        ),
        (
            b"GET http://a.example/ HTTP/1.1\r\nHost: x\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
            b"Content-Length: 9\r\n\r\n",
        ),
        (
            b"GET http://a.example/ HTTP/1.1\r\nHost: x\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"204 No Content\r\n\r\n",
        ),
        (
            b"GET http://a.example/ HTTP/1.1\r\nHost: x\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK,
            b"ok",
        ),
    ],
)
def test_answers_without_a_body_and_the_next_request(request_head, answer, told):
    caller = Caller()
    caller.client(request_head * 2)
    caller.site(answer)
    assert caller.to_client.endswith(told)
    assert caller.to_site.count(b"\r\n\r\n") == 2  # the second went out behind the first one's answer
    caller.site(answer)
    assert caller.to_client.count(told) == 2
    assert caller.dialled == [A]
    assert not caller.machine.over


def test_an_expectation_is_the_sites_to_grant():
    caller = Caller()
    caller.client(b"PUT http://a.example/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    caller.site(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert caller.to_client == b"HTTP/1.1 100 Continue\r\n\r\n"
    caller.client(b"hi")
    assert caller.to_site.endswith(b"\r\n\r\nhi")
    caller.site(OK)
    assert caller.to_client.endswith(b"ok")
    assert not caller.machine.over


def test_an_answer_before_the_request_is_whole_ends_the_connection():
    caller = Caller()
    caller.client(b"PUT http://a.example/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhi")
    caller.site(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
    assert caller.to_client.startswith(b"HTTP/1.1 413 ")
    assert caller.machine.over


def test_a_body_that_may_not_be_repeated_goes_to_a_new_connection():
    caller = Caller()
    post = b"POST http://a.example/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
    caller.client(post)
    caller.site(OK)
    caller.client(post)
    assert caller.dialled == [A, A]
    caller.site(b"")
    assert caller.dialled == [A, A]
    assert b"HTTP/1.1 502 " in caller.to_client


def test_a_site_that_says_what_nobody_asked_for_is_left():
    caller = Caller()
    caller.client(b"GET http://a.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
    caller.site(OK)
    caller.site(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    assert caller.machine.hang_up
    caller.client(b"GET http://a.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
    assert caller.dialled == [A, A]
    assert b"evil" not in caller.to_client


@pytest.mark.parametrize(
    "answer",
    [
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 101 x\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    ],
)
def test_a_site_that_does_not_speak_http(answer):
    caller = Caller()
    caller.client(b"GET http://a.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
    caller.site(answer)
    assert caller.to_client.startswith(b"HTTP/1.1 502 ")
    assert caller.machine.over


def test_trailers_and_chunks_of_one_byte_take_their_turns():
    caller = Caller()
    caller.client(b"GET http://a.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
    caller.machine.from_site_untrusted(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 2000 + b"0\r\nT: 1\r\n\r\n"
    )
    assert caller.machine.advance()
    assert sum(map(len, caller.machine.to_client)) < 1000
    caller.go_on()
    _, _, body = caller.to_client.partition(b"\r\n\r\n")
    assert body.endswith(b"0\r\nT: 1\r\n\r\n")
    assert body.count(b"x") == 2000


def test_a_site_out_of_reach():
    caller = Caller()
    caller.machine.from_client_untrusted(b"GET http://a.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
    caller.machine.advance()
    caller.machine.dial = None
    caller.machine.not_dialled(Refusal.TIMED_OUT, "late")
    assert b"".join(caller.machine.to_client).startswith(b"HTTP/1.1 504 ")
    assert caller.machine.over
    assert not caller.machine.to_site


REQUESTS = (
    b"GET http://a.example/1 HTTP/1.1\r\nHost: x\r\n\r\n"
    b"POST http://b.example/2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    b"GET http://a.example/3 HTTP/1.1\r\nHost: x\r\n\r\n"
)


@given(st.integers(1, 60))
def test_how_the_bytes_are_cut_changes_nothing(step):
    caller = Caller()
    seen = []
    caller.client(REQUESTS, step)
    for _ in range(3):
        seen.append(caller.to_site)
        caller.site(OK)
    assert [piece.split()[1] for piece in seen] == [b"/1", b"/2", b"/3"]
    assert seen[1].replace(b"\r\n", b"").endswith(b"0")
    assert [target.host for target in caller.dialled] == ["a.example", "b.example", "a.example"]
    assert caller.to_client == OK * 3
