"""Whole HTTP requests through the local port, with sites on loopback, straight and through a server of our own."""

from __future__ import annotations

import contextlib
import socket
import struct

import pytest
from test_listen import Port

from tunflow.endpoint import endpoint
from tunflow.inbound.client_request import Inbound
from tunflow.inbound.listen_udp import ListenDatagrams
from tunflow.inbound.listening_sockets import address_to_type
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.containment import Containment
from tunflow.protocols.http.forwarder import Forwarder

KINDS = pytest.mark.parametrize("kind", ["direct", "ss"])


@pytest.fixture
def ports():
    made = []

    def make(*arguments, **options):
        made.append(Port(*arguments, **options))
        return made[-1]

    yield make
    for port in made:
        port.close()


def name_of(site):
    return f"127.0.0.1:{site.getsockname()[1]}"


def another_site(port):
    site = socket.create_server(("127.0.0.1", 0))
    site.setblocking(False)
    port.sockets.append(site)
    return site


def accept(port, site):
    sock, _ = port.step(site.accept)
    sock.setblocking(False)
    port.sockets.append(sock)
    return sock


def until(port, sock, end):
    """Everything up to and with `end`."""
    got = b""
    while not got.endswith(end):
        piece = port.step(lambda: sock.recv(1))
        assert piece, got
        got += piece
    return got


def nothing_comes(port, sock):
    for _ in range(5):
        port.rig.reactor.run_once(0.01)
    with pytest.raises(BlockingIOError):
        sock.recv(1)


@KINDS
def test_each_request_goes_to_the_site_that_it_names(ports, kind):
    """A browser's cookies for B must not reach A because A keeps its connection."""
    port = ports(kind)
    a, b = port.target, another_site(port)
    client = port.client()
    client.sendall(
        f"GET http://{name_of(a)}/a HTTP/1.1\r\nHost: x\r\n\r\n"
        f"GET http://{name_of(b)}/secret HTTP/1.1\r\nHost: x\r\nCookie: S\r\n\r\n".encode()
    )
    at_a = accept(port, a)
    assert until(port, at_a, b"\r\n\r\n") == f"GET /a HTTP/1.1\r\nHost: {name_of(a)}\r\n\r\n".encode()
    nothing_comes(port, at_a)
    at_a.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\nA")
    assert until(port, client, b"\r\n\r\nA").startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n")
    at_b = accept(port, b)
    assert b"Cookie: S" in until(port, at_b, b"\r\n\r\n")
    assert port.read(at_a, 1) == b""  # nothing of it reached A, and A was let go
    at_b.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nB")
    assert until(port, client, b"\r\n\r\nB")


@KINDS
def test_bodies_in_chunks_both_ways_and_the_connection_used_again(ports, kind):
    port = ports(kind)
    client = port.client()
    where = name_of(port.target)
    client.sendall(
        f"POST http://{where}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n0\r\nT: 1\r\n\r\n".encode()
    )
    served = accept(port, port.target)
    assert until(port, served, b"0\r\nT: 1\r\n\r\n").endswith(b"3\r\nabc\r\n0\r\nT: 1\r\n\r\n")
    served.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\n\r\n")
    assert until(port, client, b"\r\n0\r\n\r\n").endswith(b"\r\n\r\n2\r\nxy\r\n0\r\n\r\n")
    client.sendall(f"GET http://{where}/again HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert until(port, served, b"\r\n\r\n").startswith(b"GET /again ")
    served.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
    until(port, client, b"\r\n\r\n")
    # The site hangs up when the next request is on its way: it is asked once more.
    client.sendall(f"GET http://{where}/third HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert until(port, served, b"\r\n\r\n").startswith(b"GET /third ")
    served.close()
    anew = accept(port, port.target)
    assert until(port, anew, b"\r\n\r\n").startswith(b"GET /third ")
    anew.sendall(b"HTTP/1.1 200 OK\r\n\r\nto the end")
    anew.close()
    assert until(port, client, b"0\r\n\r\n").endswith(b"a\r\nto the end\r\n0\r\n\r\n")


def test_an_old_client_gets_no_chunks(ports):
    port = ports()
    client = port.client()
    client.sendall(f"GET http://{name_of(port.target)}/ HTTP/1.0\r\n\r\n".encode())
    served = accept(port, port.target)
    until(port, served, b"\r\n\r\n")
    served.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\n\r\n")
    answer = port.read(client, 1000)
    assert answer.endswith(b"\r\n\r\nxy")
    assert b"chunked" not in answer


def test_an_answer_that_is_cut_is_cut_for_the_client(ports):
    port = ports()
    client = port.client()
    client.sendall(f"GET http://{name_of(port.target)}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    served = accept(port, port.target)
    until(port, served, b"\r\n\r\n")
    served.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    until(port, client, b"abc")
    served.close()
    with pytest.raises(ConnectionResetError):
        port.step(lambda: client.recv(1))


@KINDS
def test_a_websocket(ports, kind):
    port = ports(kind)
    client = port.client()
    client.sendall(
        f"GET http://{name_of(port.target)}/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        "early".encode()
    )
    served = accept(port, port.target)
    head = until(port, served, b"\r\n\r\n")
    assert b"\r\nUpgrade: websocket\r\n" in head
    assert b"\r\nConnection: Upgrade\r\n" in head
    served.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello")
    assert b"\r\nUpgrade: websocket\r\n" in until(port, client, b"hello")
    assert port.read(served, 5) == b"early"
    served.sendall(b"\x00GET / HTTP/1.1\r\n\r\n")
    assert port.read(client, 19) == b"\x00GET / HTTP/1.1\r\n\r\n"
    client.sendall(b"last")
    client.shutdown(socket.SHUT_WR)
    assert port.read(served, 100) == b"last"
    served.sendall(b"words")
    served.close()
    assert port.read(client, 100) == b"words"


@KINDS
def test_a_tunnel_behind_a_request(ports, kind):
    port = ports(kind)
    client = port.client()
    where = name_of(port.target)
    client.sendall(f"GET http://{where}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    served = accept(port, port.target)
    until(port, served, b"\r\n\r\n")
    served.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    until(port, client, b"\r\n\r\n")
    client.sendall(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\nflow".encode())
    tunneled = accept(port, port.target)
    assert port.read(tunneled, 4) == b"flow"
    assert until(port, client, b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    tunneled.sendall(b"back")
    tunneled.close()
    assert port.read(client, 100) == b"back"


def test_a_large_body_waits_for_a_slow_client(ports):
    """Memory is bounded: the site is not read on while the client does not read."""
    port = ports()
    client = port.client()
    client.sendall(f"GET http://{name_of(port.target)}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    served = accept(port, port.target)
    until(port, served, b"\r\n\r\n")
    size = 32 << 20
    served.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    waiting = memoryview(bytes(size))
    stuck = 0
    while stuck < 20:
        port.rig.reactor.run_once(0)
        try:
            waiting = waiting[served.send(waiting) :]
            stuck = 0
        except BlockingIOError:
            stuck += 1
    assert len(waiting) > 1 << 20
    assert 0 < port.listen.waiting <= 1 << 18
    until(port, client, b"\r\n\r\n")
    got = 0
    while got < size:
        port.rig.reactor.run_once(0)
        with contextlib.suppress(BlockingIOError):
            waiting = waiting[served.send(waiting) :] if waiting else waiting
        with contextlib.suppress(BlockingIOError):
            got += len(client.recv(1 << 20))


@pytest.mark.parametrize(
    "uri", ["http://[]/", "http://[1.2.3.4]/", "http://u@]example.com/", "http://[::1]x/", "http://a[b/"]
)
def test_a_uri_that_is_none_ends_nobody_elses_connection(ports, uri):
    port = ports()
    for host in ("x", ""):
        client = port.client()
        client.sendall(f"GET {uri} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert port.read(client, 12) == b"HTTP/1.1 400"
    client = port.client()
    client.sendall(f"GET {uri} HTTP/1.1\r\n\r\n".encode())
    assert port.read(client, 12) == b"HTTP/1.1 400"


def test_a_client_that_resets_its_association_while_it_is_made(ports, monkeypatch):
    """The kernel forgets the peer's name at once: ENOTCONN."""
    port = ports()
    client = port.client()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    open_untrusted = Inbound.open_untrusted

    def reset_behind_the_wish(inbound, data):
        taken = open_untrusted(inbound, data)
        client.close()
        return taken

    monkeypatch.setattr(Inbound, "open_untrusted", reset_behind_the_wish)
    client.sendall(b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6))
    port.rig.until(lambda: client.fileno() < 0)
    monkeypatch.undo()
    another = port.client()
    another.sendall(b"\x05\x01\x00")
    assert port.read(another, 2) == b"\x05\x00"
    another.close()
    port.rig.until(lambda: port.listen.shared.budget.used == 0)


def test_the_password_is_asked_for_each_request(ports):
    port = ports(credentials=("me", "secret"))
    client = port.client()
    where = name_of(port.target)
    shown = "Proxy-Authorization: Basic\r\n bWU6c2VjcmV0\r\n"  # folded: all of it stays here
    client.sendall(f"GET http://{where}/ HTTP/1.1\r\nHost: x\r\n{shown}\r\n".encode())
    served = accept(port, port.target)
    assert until(port, served, b"\r\n\r\n") == f"GET / HTTP/1.1\r\nHost: {where}\r\n\r\n".encode()
    served.sendall(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n")
    until(port, client, b"\r\n\r\n")
    client.sendall(f"GET http://{where}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert port.read(client, 12) == b"HTTP/1.1 407"
    assert not any("secret" in line for line in port.lines)


def test_a_site_that_cannot_be_reached(ports):
    port = ports("block")
    client = port.client()
    client.sendall(b"POST http://a.example/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + bytes(1000))
    answer = port.read(client, 1000)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert port.read(client, 1) == b""


@pytest.mark.parametrize("where", [(Forwarder, "advance"), (Inbound, "open_untrusted"), (ListenDatagrams, "admit")])
def test_a_bug_in_one_connection_ends_that_only(ports, monkeypatch, where):
    port = ports()
    reactor = port.rig.reactor
    reactor.containment = Containment(CauseLog(port.lines.append, lambda: reactor.now), lambda: reactor.now)
    going_on = port.client()
    going_on.sendall(f"CONNECT {name_of(port.target)} HTTP/1.1\r\n\r\n".encode())
    served = accept(port, port.target)
    until(port, going_on, b"\r\n\r\n")
    used = port.listen.shared.budget.used

    def broken(*_):
        raise IndexError("what a client said")

    with monkeypatch.context() as patched:
        patched.setattr(*where, broken)
        victim = port.client()
        associates = where[0] is ListenDatagrams
        victim.sendall(b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6) if associates else b"GET /proxy.pac HTTP/1.0\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            while port.step(lambda: victim.recv(100)):
                pass
    assert port.listen.shared.budget.used == used
    assert any("internal error in the connection of 127.0.0.1:" in line for line in port.lines)
    assert not any("what a client said" in line for line in port.lines)
    served.sendall(b"still here")
    assert port.read(going_on, 10) == b"still here"


def test_a_port_on_all_addresses_has_one_to_type():
    assert address_to_type(endpoint("127.0.0.1", 1080)) == endpoint("127.0.0.1", 1080)
    for everywhere in ("::", "0.0.0.0"):
        found = address_to_type(endpoint(everywhere, 1080))
        assert any(found.host)
        assert found.port == 1080
