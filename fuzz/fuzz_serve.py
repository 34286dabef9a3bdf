"""Whole servers, as clients see them: the local port, Shadowsocks of either edition, WireGuard, Trojan, VLESS.

The invariant: no bug is met, whatever clients say, in whatever pieces, and however they leave; who holds the key too.
Afterwards every descriptor is given back. Whatever a client asks for leads to an echo in this process.

The first byte of an input chooses the server; then come operations: a byte that says which, and what it takes.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
from base64 import b64encode
from dataclasses import replace
from functools import partial
from hashlib import sha224
from uuid import UUID

from tunflow.endpoint import Address, Endpoint, endpoint
from tunflow.flow import FlowInfo
from tunflow.host.memory import memory_pair
from tunflow.inbound.listen import ListenServer
from tunflow.inbound.server import InboundServer
from tunflow.inbound.stream_server import StreamServer
from tunflow.inbound.wireguard_server import WireGuardListener
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import READ, Reactor
from tunflow.outbound.chain import make_outbound
from tunflow.protocols.contract import Carries, CodecRoute, DatagramRoute, NameSource, Settings
from tunflow.protocols.registry import parse_server
from tunflow.protocols.server_addresses import ServerAddresses
from tunflow.protocols.shadowsocks.settings import ShadowsocksServer
from tunflow.protocols.trojan.settings import TrojanServer
from tunflow.protocols.vless.settings import VLESSServer
from tunflow.protocols.wireguard.config_file import parse_config
from tunflow.protocols.wireguard.handshake import KeyPair

LOOPBACK = "127.0.0.1"
RESET = struct.pack("ii", 1, 0)
"""struct linger (socket(7)): a close is a reset."""
KEYS = ("aes-128-gcm", "secret"), ("2022-blake3-aes-128-gcm", b64encode(bytes(range(16))).decode())
STREAMS = "trojan://secret@127.0.0.1:1?security=none", f"vless://{UUID(int=1)}@127.0.0.1:1?type=ws&path=/x"
TROJAN = sha224(b"secret").hexdigest().encode() + b"\r\n"
DNS = b"\x01\x7f\x00\x00\x01\x00\x35"
VLESS = b"\x00" + UUID(int=1).bytes + b"\x00\x01\x00\x50\x02\x04site"
UPGRADE = (
    b"GET /x HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
SOCKS = b"\x05\x01\x00\x05\x01\x00\x03\x08site.net\x00\x50"
GET = b"GET http://site.net/a HTTP/1.1\r\nHost: site.net\r\n\r\n"


def frame(data: bytes) -> bytes:
    """A WebSocket client's, under a mask that changes nothing."""
    return bytes((0x82, 0x80 | len(data))) + bytes(4) + data


def client(number: int, *operations: bytes) -> bytes:
    """Operations of one client."""
    return b"".join(bytes((operation[0], number)) + operation[1:] for operation in operations)


def say(data: bytes) -> bytes:
    """The operation that says so."""
    return bytes((1, len(data))) + data


SEEDS: list[bytes] = [
    b"\x00" + client(0, b"\x00", say(SOCKS), say(b"hello"), b"\x02"),
    b"\x00" + client(0, b"\x00", say(GET), say(GET.replace(b"site.net", b"other.net"))) + client(0, b"\x03"),
    b"\x01" + client(0, b"\x00", say(b"\x05\x01\x02\x01\x01u\x01p" + SOCKS[3:]), say(b"x")),
    b"\x00"
    + client(1, b"\x00", say(b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6)))
    + b"\x04\x08\x00\x00\x00\x01\x7f\0\0\x01\0\x35x",
    b"\x02" + client(0, b"\x00", say(b"\x03\x04site\x00\x50hello"), b"\x02"),
    b"\x02" + client(0, b"\x00", b"\x05\x05hello", b"\x05\x01x", b"\x02"),
    b"\x03" + client(0, b"\x00", b"\x05\x05hello", b"\x05\x01x", b"\x03") + b"\x06\xff",
    b"\x03" + client(0, b"\x00", say(bytes(60))) + b"\x06\x40\x06\x40",
    b"\x05" + client(0, b"\x00", b"\x05\x05hello", b"\x05\x01x", b"\x02"),
    b"\x05" + client(0, b"\x00", say(TROJAN + b"\x01\x03\x04site\x00\x50\r\nhello"), b"\x02"),
    b"\x05" + client(0, b"\x00", say(TROJAN + b"\x03" + DNS + b"\r\n" + DNS + b"\x00\x01\r\nx")),
    b"\x06" + client(0, b"\x00", say(UPGRADE), say(frame(VLESS + b"hello")), say(frame(b"x")), b"\x02"),
    b"\x06" + client(0, b"\x00", say(UPGRADE + frame(VLESS) + b"\x89\x80" + bytes(4)), b"\x03"),
    b"\x04\x04\x94\x01" + bytes(147) + b"\x06\x20\x07\x14" + b"\x45" + bytes(19),
]


class Echo:
    """Where everything leads. As `contract.Outbound`."""

    label = "echo"
    carries = Carries.STREAMS | Carries.DATAGRAMS | Carries.NAMES
    wants_flow = False
    server: ServerAddresses | None = None
    resolver: NameSource | None = None

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._streams = socket.create_server((LOOPBACK, 0))
        self._streams.setblocking(False)
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._datagrams.bind(self._streams.getsockname())
        self._open: set[socket.socket] = set()
        reactor.add(self._streams.fileno(), READ, lambda _: self._accept())
        reactor.add(self._datagrams.fileno(), READ, lambda _: self._datagram())
        self.where = endpoint(*self._streams.getsockname())

    def stream(self, target: Endpoint, flow: FlowInfo | None = None) -> CodecRoute:  # noqa: ARG002
        """To the echo."""
        return CodecRoute((self._address,), None, self.label)

    def datagrams(self) -> DatagramRoute:
        """To the echo."""
        return DatagramRoute((self._address,), Bare(), self.label)

    @property
    def _address(self) -> Address:
        return Address(socket.AF_INET, (LOOPBACK, self.where.port))

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            sock, _ = self._streams.accept()
            sock.setblocking(False)
            self._open.add(sock)
            self._reactor.add(sock.fileno(), READ, partial(self._read, sock))

    def _read(self, sock: socket.socket, _events: int) -> None:
        try:
            data = sock.recv(65536)
            if data:
                sock.send(data)
                return
        except OSError:
            pass
        self._end(sock)

    def _datagram(self) -> None:
        with contextlib.suppress(OSError):
            data, source = self._datagrams.recvfrom(65536)
            self._datagrams.sendto(data, source)

    def _end(self, sock: socket.socket) -> None:
        self._reactor.remove(sock.fileno())
        self._open.discard(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.close()

    def close(self) -> None:
        """Give everything back."""
        for sock in list(self._open):
            self._end(sock)
        for each in (self._streams, self._datagrams):
            self._reactor.remove(each.fileno())
            each.close()


class Bare:
    """Datagrams to the echo: the target in front. As `codec.DatagramCodec`."""

    def seal(self, target: Endpoint, payload: bytes | bytearray | memoryview) -> bytes:  # noqa: ARG002
        """The payload."""
        return bytes(payload)

    def open_untrusted(self, datagram: bytes | bytearray | memoryview) -> tuple[Endpoint, memoryview]:
        """From one place."""
        return endpoint("192.0.2.1", 53), memoryview(datagram)


class Everywhere(dict[Endpoint, Endpoint]):
    """Leads all targets to one."""

    def __init__(self, where: Endpoint) -> None:
        super().__init__({where: where})
        self._where = where

    def get(self, _target: Endpoint, _default: object = None) -> Endpoint:
        """That one."""
        return self._where


class Run:
    """One server, and what an input has its clients do."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 1
        self.ahead = 0.0
        self.reactor = Reactor(lambda: 1000.0 + self.ahead)
        self.echo = Echo(self.reactor)
        self.clients: dict[int, socket.socket] = {}
        self.codecs: dict[int, object] = {}
        self.lines: list[str] = []
        self.client: Settings | None = None
        """What somebody with the key goes by."""
        self.server: ListenServer | InboundServer | StreamServer | None = None
        self.wireguard: WireGuardListener | None = None
        kind = data[0] % 7
        if kind < 2:
            known = ("u", "p") if kind else None
            self.server = ListenServer(
                self.reactor, LOOPBACK, 0, self.echo, log=self.lines.append, credentials=known, descriptors=64
            )
        elif kind < 4:
            spec = ShadowsocksServer(LOOPBACK, 0, *KEYS[kind - 2])
            self.client = replace(spec, port=1)
            rng = random.Random(0).randbytes
            everywhere = Everywhere(self.echo.where)
            self.server = InboundServer(
                self.reactor, spec, log=self.lines.append, rng=rng, descriptors=64, rewrite=everywhere
            )
        elif kind == 4:
            self._start_wireguard()
        else:
            self._start_streams(STREAMS[kind - 5])
        if self.server is not None:
            self.server.shared.resolver.lookup = lambda _host: ()
            self.port = self.server.addresses[0].port
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def _start_streams(self, link: str) -> None:
        spec = parse_server(link)
        assert isinstance(spec, TrojanServer | VLESSServer)
        self.client = spec
        self.server = StreamServer(self.reactor, replace(spec, port=0), log=self.lines.append, descriptors=64)
        self.server.shared = replace(self.server.shared, rewrite=Everywhere(self.echo.where))

    def _start_wireguard(self) -> None:
        keys = [b64encode(bytes((number,)) * 32).decode() for number in (1, 2)]
        public = b64encode(KeyPair.of(bytes((2,)) * 32).public).decode()
        text = f"[Interface]\nPrivateKey = {keys[0]}\nAddress = 10.7.0.1/24\n"
        text += f"[Peer]\nPublicKey = {public}\nAllowedIPs = 10.7.0.2/32\n"
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind((LOOPBACK, 0))
        self.port = self.socket.getsockname()[1]
        self.device, self.card = memory_pair()
        log = CauseLog(self.lines.append, lambda: self.reactor.now)
        self.wireguard = WireGuardListener(self.reactor, self.device, self.socket, parse_config(text, "fuzz"), log)

    def byte(self) -> int:
        """The next byte of the input; 0 behind its end."""
        if self.at >= len(self.data):
            return 0
        self.at += 1
        return self.data[self.at - 1]

    def some(self, size: int) -> bytes:
        """So many of the next bytes."""
        found, self.at = self.data[self.at : self.at + size], self.at + size
        return found

    def operate(self) -> None:
        """Do what the input says next."""
        operation = self.byte() % 8
        if operation == 6:
            self.ahead += self.byte() ** 2 / 64
        elif operation == 4:
            with contextlib.suppress(OSError):
                self.datagrams.sendto(self.some(self.byte()), (LOOPBACK, self.port))
        elif operation == 7:
            if self.wireguard is not None:
                self.card.write([[bytes(10), self.some(self.byte())]])
        else:
            self.act(operation, self.byte() % 4)
        self.serve()

    def act(self, operation: int, number: int) -> None:
        """What one of the clients does."""
        with contextlib.suppress(OSError):
            if operation == 0:
                self.leave(number)
                if self.server is not None:
                    self.clients[number] = socket.create_connection((LOOPBACK, self.port), 1)
                    self.clients[number].setblocking(False)
                return
            sock = self.clients.get(number)
            said = self.some(self.byte()) if operation in {1, 5} else b""
            if sock is None:
                return
            if operation == 1:
                sock.send(said)
            elif operation == 2:
                sock.shutdown(socket.SHUT_WR)
            elif operation == 3:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                self.leave(number)
            else:
                sock.send(self.sealed(number, said))

    def sealed(self, number: int, said: bytes) -> bytes:
        """What somebody with the key makes of it."""
        if self.client is None:
            return said
        if number not in self.codecs:
            outbound = make_outbound([self.client])
            route = outbound.stream(Endpoint("site.test", 80))
            assert isinstance(route, CodecRoute)
            self.codecs[number] = route.codec
        return b"".join(bytes(each) for each in self.codecs[number].seal([said]))  # type: ignore[attr-defined]

    def leave(self, number: int) -> None:
        """A client leaves."""
        self.codecs.pop(number, None)
        sock = self.clients.pop(number, None)
        if sock is not None:
            sock.close()

    def serve(self) -> None:
        """Rounds until it is quiet, as far as a kernel says so at once."""
        for _ in range(4):
            self.reactor.run_once(0)
            for sock in self.clients.values():
                with contextlib.suppress(OSError):
                    sock.recv(65536)

    def end(self) -> None:
        """All leave, and everything is given back; by resets, so that no port of this machine's is used up."""
        for number, sock in list(self.clients.items()):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.leave(number)
        for _ in range(6):
            self.serve()
            self.ahead += 400.0
        self.datagrams.close()
        if self.server is not None:
            self.server.close()
            assert self.server.shared.budget.used == 0, "descriptors are kept"
        if self.wireguard is not None:
            self.wireguard.close()
            for each in (self.socket, self.device, self.card):
                each.close()
        self.echo.close()
        assert self.reactor.watched == 0, "descriptors are watched"
        self.reactor.close()


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    if len(data) < 2:
        return
    run = Run(data)
    while run.at < len(data):
        run.operate()
    run.end()
