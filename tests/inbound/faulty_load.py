"""Servers of all kinds that carry streams, their clients, and whoever these speak to on loopback: one thread, a clock
that can jump."""

from __future__ import annotations

import os
import socket
import struct
import time
from base64 import b64encode
from contextlib import suppress
from dataclasses import replace

from tunflow.endpoint import Endpoint, endpoint
from tunflow.inbound.listen import ListenServer
from tunflow.inbound.server import InboundServer
from tunflow.inbound.stream_server import StreamServer
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.containment import Containment
from tunflow.loop.reactor import READ, Reactor
from tunflow.outbound.chain import make_outbound, outbound_of
from tunflow.outbound.direct import DirectOutbound
from tunflow.protocols.registry import parse_server
from tunflow.protocols.shadowsocks.settings import ShadowsocksServer
from tunflow.protocols.socks.socks5 import seal_datagram
from tunflow.protocols.trojan.stream import TrojanFrames, key_of

HOST = "127.0.0.1"
RESET = struct.pack("ii", 1, 0)
KEY = b64encode(bytes(range(16))).decode()
ASSOCIATE = b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6)
CALM = 30
"""Turns after which a datagram without an answer is lost: on loopback all that moves has moved by then."""
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class JumpingClock:
    ahead = 0.0

    def __call__(self):
        return time.monotonic() + self.ahead


class Far:
    """Answers each read of a stream, and each datagram, by what `make` makes of it."""

    def __init__(self, reactor, make):
        self._reactor = reactor
        self._make = make
        self._listener = socket.create_server((HOST, 0), backlog=256)
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.bind(self._listener.getsockname())
        self._open = set()
        for sock, call in ((self._listener, self._accept), (self._datagrams, self._answer)):
            sock.setblocking(False)
            reactor.add(sock.fileno(), READ, call)
        self.where = endpoint(*self._listener.getsockname())

    def _accept(self, _events):
        with suppress(OSError):
            sock, _ = self._listener.accept()
            sock.setblocking(False)
            self._open.add(sock)
            self._reactor.add(sock.fileno(), READ, lambda _: self._serve(sock))

    def _serve(self, sock):
        try:
            data = sock.recv(1 << 16)
            if data:
                sock.send(self._make(data))
                return
        except OSError:
            pass
        self._end(sock)

    def _answer(self, _events):
        with suppress(OSError):
            data, peer = self._datagrams.recvfrom(1 << 16)
            self._datagrams.sendto(self._make(data), peer)

    def _end(self, sock):
        self._open.discard(sock)
        self._reactor.remove(sock.fileno())
        sock.close()

    def close(self):
        for sock in (*self._open, self._listener, self._datagrams):
            self._reactor.remove(sock.fileno())
            sock.close()


class Stream:
    """Says `opening`, in pieces, and is to hear what `ends` with; `codec` is what it speaks."""

    def __init__(self, kind, port, pieces, ends, codec=None):
        self.kind = kind
        self.outcome = None
        self._codec = codec
        self._heard = self._wire = b""
        self._ends = ends
        self.socket = socket.create_connection((HOST, port))
        self.socket.setblocking(False)
        for piece in pieces:
            self.socket.send(b"".join(map(bytes, codec.seal([piece]))) if codec is not None else piece)

    def poll(self):
        with suppress(BlockingIOError):
            try:
                data = self.socket.recv(1 << 18)
            except ConnectionError:
                data = b""
            if not data:
                self.outcome = self.outcome or "ended"
                return
            self._wire += data
            if self._codec is None:
                self._heard = self._wire
            else:
                pieces, used = self._codec.open_untrusted(memoryview(self._wire))
                self._wire = self._wire[used:]
                self._heard += b"".join(map(bytes, pieces))
            if self._heard.endswith(self._ends):
                self.outcome = self.outcome or "whole"

    def close(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.socket.close()


class Prober(Stream):
    """Knows no key, and is to hear nothing."""

    def __init__(self, port):
        super().__init__("a prober", port, [bytes(200)], b"no end")
        self.outcome = "whole"


class Associated(Stream):
    """Holds a SOCKS association, and sends one datagram by it."""

    def __init__(self, port, target, name):
        super().__init__("a datagram by SOCKS", port, [ASSOCIATE], b"no end")
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.setblocking(False)
        self._port = port
        self._payload = [seal_datagram(each, b"datagram") for each in (name, target)]

    def poll(self):
        super().poll()
        if self._heard and self._payload:
            for each in self._payload:
                self._datagrams.sendto(each, (HOST, self._port))
            self._payload = []
        with suppress(BlockingIOError):
            if self._datagrams.recv(1000).endswith(b"datagram"):
                self.outcome = "whole"

    def close(self):
        super().close()
        self._datagrams.close()


class Datagram:
    """One, sealed."""

    def __init__(self, port, outbound, target):
        self.kind = "a datagram"
        self.outcome = None
        self._codec = outbound.datagrams().codec
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.sendto(self._codec.seal(target, b"datagram"), (HOST, port))

    def poll(self):
        with suppress(BlockingIOError):
            _, payload = self._codec.open_untrusted(self._socket.recv(1000))
            self.outcome = "whole" if bytes(payload) == b"datagram" else "wrong"

    def close(self):
        self._socket.close()


class World:
    """One server of each kind. `lines` is their log."""

    def __init__(self):
        self.clock = JumpingClock()
        self.outside = Reactor(self.clock)
        self.reactor = reactor = Reactor(self.clock)
        self.lines = []
        log = CauseLog(self.lines.append, self.clock)
        reactor.containment = Containment(log, lambda: reactor.now)
        self.echo = Far(self.outside, bytes)
        self.site = Far(self.outside, lambda _: PAGE)
        say = self.lines.append
        methods = ("aes-128-gcm", "secret"), ("2022-blake3-aes-128-gcm", KEY)
        specs = [ShadowsocksServer(HOST, 0, *each) for each in methods]
        self._shadowsocks = [InboundServer(reactor, spec, log=say, allow_local=True) for spec in specs]
        self._ways = [
            make_outbound([ShadowsocksServer(HOST, server.addresses[0].port, *each)])
            for server, each in zip(self._shadowsocks, methods, strict=True)
        ]
        spec = replace(parse_server("trojan://p@127.0.0.1:1?security=none"), port=0)
        self._trojan = StreamServer(reactor, spec, log=say, allow_local=True)
        self._listen = [ListenServer(reactor, HOST, 0, way, log=say) for way in (DirectOutbound(), self._ways[0])]
        self.servers = [*self._shadowsocks, self._trojan, *self._listen]
        for server in self.servers:
            server.shared.resolver.lookup = lambda _host: (socket.inet_aton(HOST),)
        self._size = 5_000

    def load(self):
        """Begin some of everything; the clients."""
        data = os.urandom(self._size)
        echo, site = self.echo.where, self.site.where
        named = Endpoint("localhost", echo.port)
        begun = []
        for server, way in zip(self._shadowsocks, self._ways, strict=True):
            port = server.addresses[0].port
            for target in (echo, named):
                codec = way.stream(target).codec
                begun.append(Stream("a sealed stream", port, [data[:1000], data[1000:]], data[-900:], codec))
            begun += [Datagram(port, way, echo), Datagram(port, way, named), Prober(port)]
        port = self._trojan.addresses[0].port
        way = outbound_of([f"trojan://p@127.0.0.1:{port}?security=none"])
        begun += [
            Stream("a stream of Trojan", port, [data], data[-900:], way.stream(echo).codec),
            Stream("datagrams of Trojan", port, [_trojan_datagram(echo)], b"datagram"),
            Prober(port),
        ]
        where = b"\x01" + echo.host + echo.port.to_bytes(2, "big")
        get = f"GET http://127.0.0.1:{site.port}/ HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n\r\n".encode()
        connect = f"CONNECT 127.0.0.1:{echo.port} HTTP/1.1\r\n\r\n".encode()
        for listen in self._listen:
            port = listen.addresses[0].port
            begun += [
                Stream("a stream by SOCKS", port, [b"\x05\x01\x00\x05\x01\x00" + where, data], data[-900:]),
                Stream("a tunnel by CONNECT", port, [connect, b"tunnelled"], b"tunnelled"),
                Stream("a page", port, [get], b"hello"),
                Associated(port, echo, named),
            ]
        return begun

    def run(self, begun, seconds):
        """Serve until all of the clients know what became of them, but those whose datagrams are lost."""
        end = time.monotonic() + seconds
        calm = 0
        while (left := [client for client in begun if client.outcome is None]) and time.monotonic() < end:
            self.turn(begun)
            is_slow = self._looking_up() or any(type(client) is Stream for client in left)
            calm = 0 if is_slow else calm + 1
            if calm == CALM:
                break
        return len(left)

    def _looking_up(self):
        """Return True while a thread has yet to find a name."""
        return any(server.shared.resolver.waiting for server in self.servers)

    def turn(self, begun=()):
        self.reactor.run_once(0)
        self.outside.run_once(0)
        for client in begun:
            client.poll()

    def settle(self, begun):
        """All clients leave, names that are looked up in threads are found, and time goes by, so that all that is idle
        ends."""
        for client in begun:
            client.close()
        end = time.monotonic() + 60
        while self._looking_up():
            assert time.monotonic() < end, "a name is never found"
            self.turn()
        for ahead in (0.0, 0.0, 1.0, 70.0, 400.0, 400.0):
            self.clock.ahead += ahead
            for _ in range(3):
                self.turn()

    def close(self):
        for server in reversed(self.servers):
            server.close()
        self.echo.close()
        self.site.close()
        self.reactor.close()
        self.outside.close()


def _trojan_datagram(target):
    where = b"\x01" + target.host + target.port.to_bytes(2, "big")
    return key_of("p") + b"\r\n\x03" + where + b"\r\n" + b"".join(TrojanFrames().seal(target, b"datagram"))
