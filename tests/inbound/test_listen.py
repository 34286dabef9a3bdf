"""The local port for old clients, on loopback: through nothing, and through a Shadowsocks server of our own."""

from __future__ import annotations

import contextlib
import socket
import time
from functools import partial

import pytest
from server_rig import Rig

from tunflow.endpoint import endpoint
from tunflow.errors import LocalError
from tunflow.inbound import unheard_servers
from tunflow.inbound.listen import ListenServer
from tunflow.outbound.chain import make_outbound, outbound_of
from tunflow.outbound.direct import DirectOutbound
from tunflow.protocols.block.outbound import BlockOutbound
from tunflow.protocols.socks.socks5 import parse_datagram_untrusted, seal_datagram
from tunflow.protocols.trojan.stream import TrojanFrames


class Port:
    """A listening port and what stands behind it, on one reactor."""

    def __init__(self, kind="direct", credentials=None, ask_anyway=(), password=None):
        self.rig = Rig()  # its reactor serves all
        self.lines = []
        if kind == "ss":
            secret = (self.rig.spec.method, password or self.rig.spec.password)
            dialer = make_outbound([self.rig.spec.__class__("127.0.0.1", self.rig.port, *secret)])
        elif "://" in kind:
            dialer = outbound_of([kind])
        else:
            dialer = DirectOutbound() if kind == "direct" else BlockOutbound()
        self.listen = ListenServer(
            self.rig.reactor,
            "127.0.0.1",
            0,
            dialer,
            log=self.lines.append,
            credentials=credentials,
            ask_anyway=ask_anyway,
        )
        self.where = ("127.0.0.1", self.listen.addresses[0].port)
        self.target = socket.create_server(("127.0.0.1", 0))
        self.target.setblocking(False)
        self.sockets = [self.target]

    def client(self):
        made = socket.create_connection(self.where)
        made.setblocking(False)
        self.sockets.append(made)
        return made

    def step(self, action):
        """What a call on our side gives, while the loop runs."""
        end = time.monotonic() + 60
        while True:
            self.rig.reactor.run_once(0.01)
            try:
                return action()
            except BlockingIOError:
                assert time.monotonic() < end, f"did not happen; log: {self.lines}"

    def read(self, sock, size):
        got = b""
        while len(got) < size:
            piece = self.step(partial(sock.recv, size - len(got)))
            if not piece:
                break
            got += piece
        return got

    def served(self):
        sock, _ = self.step(self.target.accept)
        sock.setblocking(False)
        self.sockets.append(sock)
        return sock

    def close(self):
        for sock in self.sockets:
            sock.close()
        self.listen.close()
        assert self.listen.shared.budget.used == 0  # every descriptor was given back
        self.rig.server.close()
        self.rig.reactor.close()


@pytest.fixture
def ports():
    made = []

    def make(*arguments, **options):
        made.append(Port(*arguments, **options))
        return made[-1]

    yield make
    for port in made:
        port.close()


def request(port):
    """SOCKS5 for the target."""
    where = endpoint(*port.target.getsockname())
    return b"\x05\x01\x00\x05\x01\x00\x01" + where.host + where.port.to_bytes(2, "big")


def mentions_of_silence(port):
    return [line for line in port.lines if "has sent nothing for" in line and "check the password" in line]


@pytest.mark.parametrize("asks", ["socks", "http"])
def test_a_server_that_cannot_decrypt_is_mentioned(ports, asks):
    port = ports("ss", password="another")
    for before in range(2):
        client = port.client()
        if asks == "socks":
            client.sendall(request(port) + b"question")
            assert port.read(client, 12)[:2] == b"\x05\x00"
        else:
            host, number = port.target.getsockname()
            client.sendall(b"GET http://%s:%d/ HTTP/1.1\r\nHost: x\r\n\r\n" % (host.encode(), number))
        port.rig.until(lambda before=before: port.rig.server.counters.refused > before)
        port.rig.ahead += unheard_servers.SILENCE + 1
        port.rig.settle()
    assert len(mentions_of_silence(port)) == 1, port.lines
    assert not mentions_of_silence(ports("ss"))


def test_a_server_that_answers_is_not(ports):
    port = ports("ss")
    client = port.client()
    client.sendall(request(port) + b"question")
    assert port.read(client, 12)[:2] == b"\x05\x00"
    served = port.served()
    assert port.read(served, 8) == b"question"
    served.sendall(b"answer")
    assert port.read(client, 6) == b"answer"
    port.rig.ahead += unheard_servers.SILENCE + 1
    port.rig.settle()
    assert not mentions_of_silence(port)


@pytest.mark.parametrize("kind", ["direct", "ss"])
def test_bytes_both_ways_and_half_close(ports, kind):
    port = ports(kind)
    client = port.client()
    client.sendall(request(port) + b"early")
    assert port.read(client, 2) == b"\x05\x00"
    served = port.served()
    assert port.read(client, 10)[:2] == b"\x05\x00"
    assert port.read(served, 5) == b"early"
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    assert port.read(served, 100) == b"question"
    served.sendall(b"answer")
    served.close()
    assert port.read(client, 100) == b"answer"


def test_a_server_that_speaks_first_through_shadowsocks(ports):
    port = ports("ss")
    client = port.client()
    client.sendall(request(port))
    served = port.served()
    served.sendall(b"220 hello")
    assert port.read(client, 12 + 9)[12:] == b"220 hello"


def test_refusals_in_the_clients_words(ports):
    port = ports()
    asked = request(port)
    port.target.close()
    client = port.client()
    client.sendall(asked)
    assert port.read(client, 100) == b"\x05\x00\x05\x05\x00\x01" + bytes(6)
    blocked = ports("block")
    client = blocked.client()
    client.sendall(b"CONNECT a.example:443 HTTP/1.1\r\n\r\n")
    assert blocked.read(client, 1000).startswith(b"HTTP/1.1 403 ")


def test_pages_and_a_client_that_speaks_something_else(ports):
    port = ports(credentials=("me", "secret"))
    for sent, expected in (
        (b"GET /proxy.pac HTTP/1.0\r\n\r\n", b"HTTP/1.1 200 OK"),
        (b"GET /other HTTP/1.0\r\n\r\n", b"HTTP/1.1 404 "),
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"HTTP/1.1 407 "),
        (b"\r\n\r\nCONNECT a:1 HTTP/1.1\r\n\r\n", b"HTTP/1.1 407 "),
        (b"\nGET /proxy.pac HTTP/1.0\r\n\r\n", b"HTTP/1.1 200 OK"),
        (b"\r\n\x16\x03\x01", b""),
        (b"\x16\x03\x01", b""),
        (b"\x05\x01\x00", b"\x05\xff"),
    ):
        client = port.client()
        client.sendall(sent)
        assert port.read(client, 2000).startswith(expected)
    assert not any("secret" in line for line in port.lines)


@pytest.mark.parametrize("kind", ["direct", "ss"])
def test_datagrams_as_long_as_the_association_stands(ports, kind):
    port = ports(kind)
    far, mine = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    port.sockets += [far, mine]
    for sock in (far, mine):
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
    peer = endpoint(*far.getsockname())
    mine.sendto(seal_datagram(peer, b"nobody asked for it"), port.where)
    control = port.client()
    control.sendall(b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6))
    reply = port.read(control, 12)
    assert reply[2:] == b"\x05\x00\x00\x01\x7f\0\0\1" + port.where[1].to_bytes(2, "big")
    mine.sendto(seal_datagram(peer, b"question"), port.where)
    datagram, back = port.step(lambda: far.recvfrom(100))
    assert datagram == b"question"
    far.sendto(b"answer", back)
    source, payload = parse_datagram_untrusted(port.step(lambda: mine.recv(100)))
    assert (source, payload) == (peer, b"answer")
    control.close()
    port.rig.until(lambda: port.listen.shared.budget.used == 0)
    mine.sendto(seal_datagram(peer, b"too late"), port.where)
    for _ in range(3):
        port.rig.reactor.run_once(0.01)
    with pytest.raises(BlockingIOError):
        far.recvfrom(100)


def test_datagrams_in_a_servers_stream(ports):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = ports(f"trojan://p@127.0.0.1:{server.getsockname()[1]}?security=none")
        control = port.client()
        control.sendall(b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6))
        port.read(control, 12)
        mine = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        port.sockets.append(mine)
        mine.bind(("127.0.0.1", 0))
        mine.setblocking(False)
        peer = endpoint("192.0.2.1", 53)
        mine.sendto(seal_datagram(peer, b"question"), port.where)
        stream, _ = port.step(server.accept)
        stream.setblocking(False)
        port.sockets.append(stream)
        (head, size, end, payload) = TrojanFrames().seal(peer, b"question")
        assert port.read(stream, 58 + 8 + 2 + 19).endswith(head + size + end + payload)
        stream.sendall(b"".join(TrojanFrames().seal(peer, b"answer")))
        assert parse_datagram_untrusted(port.step(lambda: mine.recv(100))) == (peer, b"answer")


def test_udp_where_there_is_none(ports):
    port = ports("block")
    control = port.client()
    control.sendall(b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6))
    assert port.read(control, 100)[2:4] == b"\x05\x02"


KEPT = (
    "a.onion",
    "A.ONION.",
    "printer.local",
    "x.invalid",
    "x.test",
    "nas",
    "localhost",
    "x.localhost",
    "router.home.arpa",
)


def socks5_by_name(name, command=1):
    return b"\x05\x01\x00\x05" + bytes((command, 0, 3, len(name))) + name.encode() + b"\0\x50"


def asked_of_server(ports, scheme, sent, **options):
    """What a client that sends `sent` hears, and whether a server behind the port is connected to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port = ports(f"{scheme}://127.0.0.1:{server.getsockname()[1]}", **options)
        client = port.client()
        client.sendall(sent)

        def happened():
            with contextlib.suppress(BlockingIOError):
                server.accept()[0].close()
                return b"", True
            said = client.recv(1000)
            if said == b"\x05\x00":  # the greeting's answer
                raise BlockingIOError
            return said, False

        return port.step(happened)


@pytest.mark.parametrize("name", KEPT)
def test_names_that_are_nobodys_outside_are_handed_to_no_server(ports, name):
    for sent, heard in (
        (socks5_by_name(name), b"\x05\x04"),
        (b"\x04\x01\0\x50\0\0\0\1\0" + name.encode() + b"\0", b"\x00\x5b"),
        (f"CONNECT {name}:80 HTTP/1.1\r\n\r\n".encode(), b"HTTP/1.1 502 "),
        (f"GET http://{name}/ HTTP/1.1\r\nHost: {name}\r\n\r\n".encode(), b"HTTP/1.1 502 "),
    ):
        said, reached = asked_of_server(ports, "socks5", sent)
        assert not reached
        assert said.removeprefix(b"\x05\x00").startswith(heard)


def test_names_that_servers_are_asked_for(ports):
    assert asked_of_server(ports, "socks5", socks5_by_name("www.example.com"))[1]
    assert asked_of_server(ports, "tor", socks5_by_name("a.onion"))[1]
    assert not asked_of_server(ports, "tor", socks5_by_name("printer.local"))[1]
    assert asked_of_server(ports, "socks5", socks5_by_name("nas.local"), ask_anyway=("LOCAL",))[1]
    assert not asked_of_server(ports, "socks5", socks5_by_name("nas.home.arpa"), ask_anyway=("local",))[1]
    with pytest.raises(LocalError, match="no name to ask for anyway"):
        ports("block", ask_anyway=("a b",))


def test_straight_out_this_machine_knows_its_names_but_onion_never(ports):
    port = ports()
    client = port.client()
    where = port.target.getsockname()[1]
    client.sendall(b"\x05\x01\x00\x05\x01\x00\x03\x09localhost" + where.to_bytes(2, "big"))
    port.served()
    onion = port.client()
    onion.sendall(socks5_by_name("a.onion"))
    assert port.read(onion, 4)[2:] == b"\x05\x04"


def test_datagrams_to_names_that_never_leave_are_dropped(ports):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = ports(f"trojan://p@127.0.0.1:{server.getsockname()[1]}?security=none")
        control = port.client()
        control.sendall(b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6))
        port.read(control, 12)
        mine = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        port.sockets.append(mine)
        mine.sendto(seal_datagram(endpoint("printer.local", 53), b"secret"), port.where)
        mine.sendto(seal_datagram(endpoint("www.example.com", 53), b"question"), port.where)
        stream, _ = port.step(server.accept)
        stream.setblocking(False)
        port.sockets.append(stream)
        said = port.read(stream, 58 + 21 + 2 + 30)
        assert b"question" in said
        assert b"printer" not in said
        assert any("dropped UDP to printer.local" in line for line in port.lines)
