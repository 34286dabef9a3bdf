"""The forwarder against a resolver on loopback, in one loop, with a clock that the test moves."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from random import Random

import pytest

from tunflow.dns.messages import HEADER, Deframer, frame, with_identifier
from tunflow.endpoint import Address, Endpoint, endpoint
from tunflow.errors import BadPacket
from tunflow.loop import reactor as reactor_module
from tunflow.loop.reactor import READ, Reactor
from tunflow.loop.sockets import UNMARKED
from tunflow.names import forwarder as dns
from tunflow.names.forwarder import IDLE_CLOSE, MAX_IN_FLIGHT, QUERY_TIMEOUT, DNSForwarder
from tunflow.outbound.client import NEXT_ADDRESS_AFTER
from tunflow.protocols.contract import Blocked, CodecRoute

NAME = b"\x03www\x07example\x03org\x00"


def query(identifier: int = 1, name: bytes = NAME, edns: int | None = None) -> bytes:
    record = b"" if edns is None else b"\0" + (41).to_bytes(2, "big") + edns.to_bytes(2, "big") + bytes(6)
    return HEADER.pack(identifier, 0x0100, 1, 0, 0, edns is not None) + name + b"\0\1\0\1" + record


def answer(asked: bytes, size: int = 0) -> bytes:
    end = 12 + asked[12:].index(b"\0") + 5
    made = asked[:2] + HEADER.pack(0, 0x8180, 1, 0, 0, 0)[2:] + asked[12:end]
    return made + bytes(max(0, size - len(made)))


def code_of(message: bytes) -> int:
    return message[3] & 15


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class FakeResolver:
    """Listens on loopback; keeps what it is asked, answers when told to."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.address = Address(socket.AF_INET, self.listener.getsockname())
        self.accepted: list[socket.socket] = []
        self.open: list[socket.socket] = []
        self.raw: list[bytes] = []
        """All bytes of each connection."""
        self.asked: list[bytes] = []
        reactor.add(self.listener.fileno(), READ, self._accept)

    def _accept(self, _events: int) -> None:
        sock, _ = self.listener.accept()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number, deframer = len(self.raw), Deframer()
        self.accepted.append(sock)
        self.open.append(sock)
        self.raw.append(b"")

        def readable(_events: int) -> None:
            data = sock.recv(65536)
            if not data:
                self.hang_up(sock)
                return
            self.raw[number] += data
            self.asked.extend(deframer.receive(data))

        self.reactor.add(sock.fileno(), READ, readable)

    def say(self, data: bytes) -> None:
        self.open[-1].sendall(data)

    def hang_up(self, sock: socket.socket | None = None) -> None:
        sock = sock or self.open[-1]
        self.open.remove(sock)
        self.reactor.remove(sock.fileno())
        sock.close()

    def close(self) -> None:
        for sock in list(self.open):
            self.hang_up(sock)
        self.reactor.remove(self.listener.fileno())
        self.listener.close()


class Toy:
    """A codec: an opening, then records of one byte of length and the bytes turned over."""

    established = True
    transparent = False

    def __init__(self) -> None:
        self.opened = False

    def seal(self, pieces):
        data = b"".join(pieces)
        records = [bytes([len(data[i : i + 7])]) + data[i : i + 7][::-1] for i in range(0, len(data), 7)]
        opening = [] if self.opened else [b"HELLO"]
        self.opened = True
        return opening + records

    def open_untrusted(self, data):
        pieces, at = [], 0
        while at < len(data) and at + 1 + data[at] <= len(data):
            if data[at] > 7:
                raise BadPacket("too long a record")
            pieces.append(bytes(data[at + 1 : at + 1 + data[at]])[::-1])
            at += 1 + data[at]
        return pieces, at


class Outbound:
    def __init__(self, *addresses: Address) -> None:
        self.addresses = addresses
        self.make_codec: Callable[[], Toy | None] = lambda: None
        self.blocked = False
        self.targets: list[Endpoint] = []

    def stream(self, target: Endpoint, flow: object = None) -> CodecRoute:
        self.targets.append(target)
        if self.blocked:
            raise Blocked("by policy")
        return CodecRoute(self.addresses, self.make_codec(), "toy")


class World:
    """A forwarder, its resolver, and the client's answers."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.reactor = Reactor()
        self.resolver = FakeResolver(self.reactor)
        self.dialer = Outbound(self.resolver.address)
        self.failures: list[str] = []
        self.answers: list[bytes] = []
        self.forwarder = DNSForwarder(
            self.reactor, self.dialer, endpoint("192.0.2.53", 53), Random(1).getrandbits, self.failures.append, UNMARKED
        )

    def ask(self, message: bytes) -> None:
        self.forwarder.query(message, self.answers.append)

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


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    clock = Clock()
    monkeypatch.setattr(reactor_module, "time", clock)
    made = World(clock)
    yield made
    made.forwarder.close()
    made.resolver.close()
    assert not made.reactor._handlers  # every descriptor was given back
    made.reactor.close()


def test_a_query_is_asked_and_answered_under_its_own_identifier(world):
    world.ask(query(identifier=7))
    world.settle()
    (asked,) = world.resolver.asked
    assert asked[2:] == query()[2:]
    assert asked[:2] != query(identifier=7)[:2]
    world.resolver.say(frame(answer(asked)))
    world.settle()
    assert world.answers == [answer(query(identifier=7))]
    assert world.dialer.targets == [endpoint("192.0.2.53", 53)]


def test_identifiers_of_clients_may_clash_and_answers_come_in_any_order(world):
    names = [b"\x01" + bytes([letter]) + b"\0" for letter in b"abcde"]
    for name in names:
        world.ask(query(identifier=7, name=name))
    world.settle()
    assert len({asked[:2] for asked in world.resolver.asked}) == 5
    assert len(world.resolver.accepted) == 1
    world.resolver.say(b"".join(frame(answer(asked)) for asked in reversed(world.resolver.asked)))
    world.settle()
    assert world.answers == [answer(query(identifier=7, name=name)) for name in reversed(names)]


def test_queries_before_the_connection_stands_leave_with_the_codecs_first_bytes(world):
    world.dialer.make_codec = Toy
    world.ask(query(1))
    world.ask(query(2))
    world.settle()
    (raw,) = world.resolver.raw
    assert raw.startswith(b"HELLO")
    pieces, used = Toy().open_untrusted(raw[5:])
    assert used == len(raw) - 5
    asked = Deframer().receive(b"".join(pieces))
    assert [message[2:] for message in asked] == [query()[2:]] * 2
    # Answers, a byte at a time: records and messages are whole only now and then.
    sealing = Toy()
    sealing.opened = True
    for byte in b"".join(sealing.seal([frame(answer(message)) for message in asked])):
        world.resolver.say(bytes([byte]))
        world.reactor.run_once(0.05)
    assert world.answers == [answer(query(1)), answer(query(2))]


def test_an_answer_too_long_for_the_client_is_truncated(world):
    world.ask(query(1))
    world.ask(query(2, edns=1232))
    world.settle()
    for asked in world.resolver.asked:
        world.resolver.say(frame(answer(asked, size=1232)))
    world.settle()
    short, long = world.answers
    assert len(short) == len(query())
    assert short[2] & 2
    assert long == answer(query(2), size=1232)
    world.ask(query(3, edns=1232))
    world.ask(query(4))
    world.settle()
    for asked, size in zip(world.resolver.asked[2:], (1233, 512), strict=True):
        world.resolver.say(frame(answer(asked, size=size)))
    world.settle()
    assert world.answers[2][2] & 2
    assert world.answers[3] == answer(query(4), size=512)


def test_answers_that_answer_nothing_are_dropped(world):
    world.ask(query())
    world.settle()
    (asked,) = world.resolver.asked
    other = int.from_bytes(asked[:2], "big") ^ 1
    for bad in (with_identifier(answer(asked), other), asked, answer(asked).replace(b"org", b"com"), b"", b"x"):
        world.resolver.say(frame(bad))
    world.settle()
    assert (world.answers, world.forwarder.dropped) == ([], 5)
    world.resolver.say(frame(answer(asked)) * 2)
    world.settle()
    assert (len(world.answers), world.forwarder.dropped) == (1, 6)


def test_what_is_no_query_is_dropped(world):
    for bad in (b"", b"x" * 12, answer(query())):
        world.ask(bad)
    world.settle()
    assert (world.forwarder.dropped, world.resolver.accepted) == (3, [])


def test_a_query_is_sent_again_when_its_connection_closes(world):
    world.ask(query(1))
    world.settle()
    world.resolver.hang_up()
    world.settle()
    first, again = world.resolver.asked
    assert first == again
    assert len(world.resolver.accepted) == 2
    assert world.failures == []
    world.resolver.say(frame(answer(again)))
    world.settle()
    assert world.answers == [answer(query(1))]


def test_a_query_that_breaks_two_connections_fails(world):
    world.ask(query(1))
    world.settle()
    world.resolver.hang_up()
    world.settle()
    world.resolver.hang_up()
    world.settle()
    (failed,) = world.answers
    assert (failed[:2], code_of(failed)) == (query(1)[:2], 2)
    assert len(world.resolver.accepted) == 2
    assert world.failures == ["the connection was closed"]


def test_a_closed_connection_is_opened_again_by_the_next_query(world):
    world.ask(query(1))
    world.settle()
    world.resolver.say(frame(answer(world.resolver.asked[0])))
    world.settle()
    world.resolver.hang_up()
    world.settle()
    assert len(world.resolver.accepted) == 1
    world.ask(query(2))
    world.settle()
    world.resolver.say(frame(answer(world.resolver.asked[1])))
    world.settle()
    assert world.answers[1] == answer(query(2))
    assert world.failures == []


def test_garbage_from_the_server_breaks_the_connection(world):
    world.dialer.make_codec = Toy
    world.ask(query(1))
    world.settle()
    for _ in range(2):
        world.resolver.say(bytes([255]) * 300)
        world.settle()
    assert [code_of(message) for message in world.answers] == [2]
    assert world.failures == ["too long a record"]


def test_a_server_that_refuses_is_told_at_once(world):
    world.resolver.close()
    world.ask(query(1))
    world.settle()
    assert [code_of(message) for message in world.answers] == [2]
    assert world.failures == ["Connection refused"]
    world.resolver = FakeResolver(world.reactor)  # back again
    world.dialer.addresses = (world.resolver.address,)
    world.ask(query(2))
    world.settle()
    assert len(world.resolver.asked) == 1


def test_a_dialer_that_blocks_is_told_as_refused(world):
    world.dialer.blocked = True
    world.ask(query(1))
    assert [code_of(message) for message in world.answers] == [5]


def test_the_next_address_is_tried(world):
    nobody = socket.socket()
    nobody.bind(("127.0.0.1", 0))  # bound, not listening: refuses
    world.dialer.addresses = (Address(socket.AF_INET, nobody.getsockname()), world.resolver.address)
    world.ask(query(1))
    world.settle()
    nobody.close()
    assert len(world.resolver.asked) == 1


def test_the_next_address_is_tried_when_one_is_silent(world):
    # A full backlog: the kernel drops further SYNs, so connecting hangs as it does behind a black hole.
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    filling = []
    for _ in range(3):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(full.getsockname())
        filling.append(sock)
    world.dialer.addresses = (Address(socket.AF_INET, full.getsockname()), world.resolver.address)
    world.ask(query(1))
    world.settle()
    assert world.resolver.asked == []
    world.wait(NEXT_ADDRESS_AFTER)
    assert len(world.resolver.asked) == 1
    for sock in (full, *filling):
        sock.close()


def test_a_query_without_answer_is_forgotten_and_the_dead_connection_closed(world):
    world.ask(query(1))
    world.settle()
    world.wait(QUERY_TIMEOUT - 1)
    world.ask(query(2))
    world.settle()
    world.wait(1)
    # The second goes out again on a fresh connection; the first would be answered too late.
    assert world.answers == []
    assert [asked[:2] for asked in world.resolver.asked[2:]] == [world.resolver.asked[1][:2]]
    assert len(world.resolver.open) == 1
    assert world.failures == ["no answer for 5 seconds"]
    world.resolver.say(frame(answer(world.resolver.asked[0])) + frame(answer(world.resolver.asked[2])))
    world.settle()
    assert world.answers == [answer(query(2))]


def test_a_connection_that_answered_once_can_be_dead_later(world):
    world.ask(query(1))
    world.settle()
    world.resolver.say(frame(answer(world.resolver.asked[0])))
    world.settle()
    world.ask(query(2))  # in the very moment in which the answer was heard
    world.settle()
    world.wait(QUERY_TIMEOUT)
    assert len(world.answers) == 1
    assert world.resolver.open == []
    assert world.failures == ["no answer for 5 seconds"]


def test_a_slow_name_does_not_cost_a_living_connection(world):
    world.ask(query(1))
    world.settle()
    world.wait(1)
    world.ask(query(2, name=b"\1a\0"))
    world.settle()
    world.resolver.say(frame(answer(world.resolver.asked[1])))
    world.settle()
    world.wait(QUERY_TIMEOUT - 1)
    assert len(world.resolver.open) == 1
    assert len(world.resolver.asked) == 2
    assert world.failures == []


def test_an_idle_connection_is_closed_and_no_timer_remains(world):
    world.ask(query(1))
    world.settle()
    world.resolver.say(frame(answer(world.resolver.asked[0])))
    world.settle()
    world.wait(QUERY_TIMEOUT)
    world.wait(IDLE_CLOSE - QUERY_TIMEOUT - 0.5)
    assert len(world.resolver.open) == 1
    world.wait(0.5)
    assert world.resolver.open == []
    assert world.reactor._patience(None) is None


def test_use_keeps_the_connection(world):
    for number in range(5):
        world.ask(query(number))
        world.settle()
        world.resolver.say(frame(answer(world.resolver.asked[number])))
        world.wait(IDLE_CLOSE - 1)
    assert len(world.answers) == 5
    assert len(world.resolver.accepted) == 1


def test_too_many_queries_fail_at_once(world):
    for number in range(MAX_IN_FLIGHT):
        world.ask(query(number))
    assert world.answers == []
    world.ask(query(9999))
    (failed,) = world.answers
    assert (failed[:2], code_of(failed)) == (query(9999)[:2], 2)
    world.settle()
    assert len(world.resolver.asked) == MAX_IN_FLIGHT
    assert len({asked[:2] for asked in world.resolver.asked}) == MAX_IN_FLIGHT


def test_a_socket_that_takes_little_gets_everything_in_the_end(world, monkeypatch):
    real = socket.socket.sendmsg
    sizes = iter([1, 1, 2, 3, 5, 8, 13, 21] + [7] * 200)

    def reluctant(sock, pieces):
        return real(sock, [b"".join(pieces)[: next(sizes)]])

    monkeypatch.setattr(socket.socket, "sendmsg", reluctant)
    for number in range(5):
        world.ask(query(number, edns=1232))
    world.settle()
    assert [asked[2:] for asked in world.resolver.asked] == [query(edns=1232)[2:]] * 5


def test_without_descriptors_queries_fail_and_nothing_else(world, monkeypatch):
    def exhausted(*_args):
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("tunflow.outbound.client.socket.socket", exhausted)
        world.ask(query(1))
        world.settle()
    assert [code_of(message) for message in world.answers] == [2]
    assert world.failures == ["Too many open files"]


def test_timeouts_fit_the_clients():
    assert 2 * NEXT_ADDRESS_AFTER < dns.QUERY_TIMEOUT == 5.0  # glibc's RES_TIMEOUT
