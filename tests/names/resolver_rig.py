"""A reactor whose clock a test moves, and resolvers on loopback that say what they are told to."""

from __future__ import annotations

import select
import socket
from random import Random

import dns.message
import dns.rrset

from tunflow.dns.messages import Deframer, frame, parse_query_untrusted
from tunflow.dns.questions import query_of, question
from tunflow.endpoint import endpoint
from tunflow.loop.reactor import READ, Reactor


def query(name: str = "www.example.org", kind: int = 1) -> bytes:
    """A query as our resolver sends it."""
    return query_of(parse_query_untrusted(question(name, kind)))


def answer(asked: bytes, *addresses: str, code: int = 0) -> bytes:
    """A response with these A records, its question letter by letter as it was asked."""
    made = dns.message.make_response(dns.message.from_wire(asked))
    made.set_rcode(code)
    name = made.question[0].name
    if addresses:
        made.answer.append(dns.rrset.from_text(name, 60, "IN", "A", *addresses))
    return made.to_wire()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Rig:
    """The reactor, the time, and what was heard."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.reactor = Reactor(clock.monotonic)
        self.draw = Random(1).getrandbits
        self.heard: list[tuple[bytes, str]] = []
        self.ended: list[str] = []

    def ask(self, upstream, message: bytes | None = None):
        return upstream.ask(
            message or query(),
            lambda reply, label, _now: self.heard.append((reply, label)),
            lambda why, _now: self.ended.append(why),
        )

    def settle(self) -> None:
        """Serve rounds until nothing happens any more."""
        quiet = 0
        while quiet < 2:
            ready, _, _ = select.select([self.reactor], [], [], 0.01)
            self.reactor.run_once(0)
            quiet = 0 if ready else quiet + 1

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.settle()


def bound() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    return made


class UDPServer:
    """Keeps what it is asked; `say` answers from the same socket."""

    def __init__(self, rig: Rig, sock: socket.socket | None = None) -> None:
        self.rig = rig
        self.sock = sock or bound()
        self.sock.setblocking(False)
        self.target = endpoint(*self.sock.getsockname())
        self.asked: list[tuple[bytes, tuple[str, int]]] = []
        rig.reactor.add(self.sock.fileno(), READ, lambda _: self.asked.append(self.sock.recvfrom(4096)))

    def say(self, message: bytes, number: int = -1) -> None:
        self.sock.sendto(message, self.asked[number][1])

    def close(self) -> None:
        self.rig.reactor.remove(self.sock.fileno())
        self.sock.close()


class TCPServer:
    """The same for DNS over TCP."""

    def __init__(self, rig: Rig, listener: socket.socket | None = None) -> None:
        self.rig = rig
        self.listener = listener or socket.create_server(("127.0.0.1", 0))
        self.target = endpoint(*self.listener.getsockname())
        self.connections: list[socket.socket] = []
        self.accepted = 0
        self.asked: list[bytes] = []
        rig.reactor.add(self.listener.fileno(), READ, self._accept)

    def _accept(self, _events: int) -> None:
        sock, _ = self.listener.accept()
        self.accepted += 1
        deframer = Deframer()
        self.connections.append(sock)

        def readable(_events: int) -> None:
            data = sock.recv(65536)
            if data:
                self.asked += deframer.receive(data)
            else:
                self.hang_up(sock)

        self.rig.reactor.add(sock.fileno(), READ, readable)

    def say(self, message: bytes) -> None:
        self.connections[-1].sendall(frame(message))

    def hang_up(self, sock: socket.socket | None = None) -> None:
        sock = sock or self.connections[-1]
        self.connections.remove(sock)
        self.rig.reactor.remove(sock.fileno())
        sock.close()

    def close(self) -> None:
        for sock in list(self.connections):
            self.hang_up(sock)
        self.rig.reactor.remove(self.listener.fileno())
        self.listener.close()
