"""A server, its clients and its targets in one thread: the test turns the reactor's crank."""

from __future__ import annotations

import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tunflow.endpoint import Endpoint
from tunflow.inbound.server import InboundServer
from tunflow.loop.reactor import Reactor
from tunflow.outbound.chain import make_outbound
from tunflow.protocols.codec import DatagramCodec
from tunflow.protocols.contract import DatagramRoute
from tunflow.protocols.shadowsocks.methods import METHODS
from tunflow.protocols.shadowsocks.settings import ShadowsocksServer

LOOPBACK = socket.inet_aton("127.0.0.1")


class Client:
    """A Shadowsocks client on a non-blocking socket."""

    def __init__(self, rig: Rig, target: Endpoint, password: str) -> None:
        self.codec = make_outbound([replace(rig.spec, password=password, port=1)]).stream(target).codec
        self.socket = socket.create_connection(("127.0.0.1", rig.port))
        self.socket.setblocking(False)
        self.received = bytearray()
        self.ended = False
        self._wire = b""

    def send(self, data: bytes = b"") -> bytes:
        """Seal and send; the wire bytes."""
        wire = b"".join(self.codec.seal([data]))
        self.socket.sendall(wire)
        return wire

    def poll(self) -> None:
        """Take in what has come. Raises what the socket raises."""
        try:
            while data := self.socket.recv(1 << 16):
                self._wire += data
            self.ended = True
        except BlockingIOError:
            pass
        pieces, used = self.codec.open_untrusted(memoryview(self._wire))
        self._wire = self._wire[used:]
        for piece in pieces:
            self.received += piece

    def silent(self) -> bool:
        """Whether the connection is open and nothing has come."""
        try:
            return self.socket.recv(1) != b"" and False
        except BlockingIOError:
            return True


def password_for(method: str) -> str:
    """A password, or a key for a 2022 method."""
    known = METHODS[method]
    return b64encode(bytes(range(known.key_size))).decode() if known.is_2022 else "secret"


class Rig:
    """A running server and its log."""

    def __init__(self, method: str = "aes-128-gcm", **options: Any) -> None:
        self.ahead = 0.0
        """Seconds by which the server's clock is ahead of the system's; tests only increase it."""
        self.reactor = Reactor(lambda: time.monotonic() + self.ahead)
        self.lines: list[str] = []
        self.spec = ShadowsocksServer("127.0.0.1", 0, method, password_for(method))
        self.server = InboundServer(self.reactor, self.spec, log=self.lines.append, **{"allow_local": True, **options})
        self.port = self.server.addresses[0].port

    def until(self, wanted: Callable[[], bool]) -> None:
        """Serve until `wanted()`; fails after a minute."""
        end = time.monotonic() + 60
        while not wanted():
            assert time.monotonic() < end, f"did not happen; log: {self.lines}"
            self.reactor.run_once(0.01)

    def settle(self) -> None:
        """Serve until nothing happens any more, for tests that nothing does."""
        for _ in range(10):
            self.reactor.run_once(0.005)

    def client(self, target: Endpoint, password: str | None = None) -> Client:
        """A client that is connected to the server."""
        return Client(self, target, password or self.spec.password)

    def datagrams(self, password: str | None = None) -> DatagramCodec:
        """The client's side of UDP."""
        route = make_outbound([replace(self.spec, password=password or self.spec.password, port=1)]).datagrams()
        assert isinstance(route, DatagramRoute)
        assert route.codec is not None
        return route.codec

    def accept(self, listening: socket.socket) -> socket.socket:
        """What the server connects to `listening`, non-blocking."""
        accepted: list[socket.socket] = []

        def try_accept() -> bool:
            try:
                accepted.append(listening.accept()[0])
            except BlockingIOError:
                return False
            return True

        self.until(try_accept)
        accepted[0].setblocking(False)
        return accepted[0]


@contextmanager
def running(method: str = "aes-128-gcm", **options: Any) -> Iterator[Rig]:
    """A rig that is taken down afterwards."""
    rig = Rig(method, **options)
    try:
        yield rig
    finally:
        rig.server.close()
        assert rig.server.descriptors_used == 0
        rig.reactor.close()


@contextmanager
def target_socket(
    kind: socket.SocketKind = socket.SOCK_STREAM, host: str = "127.0.0.1"
) -> Iterator[tuple[socket.socket, Endpoint]]:
    """A listening (or bound UDP) non-blocking socket and its endpoint."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as opened:
        opened.bind((host, 0))
        if kind == socket.SOCK_STREAM:
            opened.listen()
        opened.setblocking(False)
        yield opened, Endpoint(socket.inet_pton(family, host), opened.getsockname()[1])


@contextmanager
def client_socket(rig: Rig) -> Iterator[socket.socket]:
    """A client's UDP socket, connected to the server."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.connect(("127.0.0.1", rig.port))
        opened.setblocking(False)
        yield opened


def receive(rig: Rig, at: socket.socket) -> tuple[bytes, tuple]:
    """The next datagram at a non-blocking socket."""
    got: list[tuple[bytes, tuple]] = []

    def try_receive() -> bool:
        try:
            got.append(at.recvfrom(65536))
        except BlockingIOError:
            return False
        return True

    rig.until(try_receive)
    return got[0]


def take(stream: socket.socket) -> bytes:
    """Everything that waits on a non-blocking socket."""
    got = b""
    try:
        while data := stream.recv(1 << 16):
            got += data
    except BlockingIOError:
        pass
    return got


def at_end(stream: socket.socket) -> bool:
    """Whether the peer has sent its FIN and nothing waits before it."""
    try:
        return stream.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False


def is_reset(stream: socket.socket) -> bool:
    """Whether the peer has reset the connection."""
    try:
        stream.recv(1)
    except ConnectionResetError:
        return True
    except BlockingIOError:
        return False
    return False
