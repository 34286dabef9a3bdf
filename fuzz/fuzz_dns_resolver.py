"""Any order of clients' queries, resolvers' replies and time: answers are for who asked, and nothing grows.

The input is a list of operations: a byte that says which, then what it takes.
"""

from __future__ import annotations

from collections.abc import Callable

from tunflow.dns.cache import Cache
from tunflow.dns.chinadns import ChinaDNS
from tunflow.dns.chinadns_ng import ChinaDNSNG
from tunflow.dns.fake_ip import FakeIPMap
from tunflow.dns.messages import HEADER, is_answer, parse_query_untrusted
from tunflow.dns.questions import ClientQuery, question
from tunflow.dns.resolver import MOST_LOOKUPS, Resolver
from tunflow.dns.resolver_plan import ResolverPlan
from tunflow.dns.selection import OneGroup, Selector
from tunflow.errors import BadPacket

_A = b"\xc0\x0c\0\1\0\1\0\0\0\x05\0\4\xc0\0\2\1"
_SELECTORS: tuple[Selector, ...] = (
    OneGroup("servers"),
    ChinaDNS(lambda address: address[0] < 128, lambda address: address[0] == 9),
    ChinaDNSNG(lambda address: address[0] < 128),
)


def operations(*given: tuple[int, bytes]) -> bytes:
    """Operations as bytes."""
    return b"".join(bytes([kind]) + len(data).to_bytes(2, "big") + data for kind, data in given)


SEEDS = [
    operations((0, b"\0"), (1, question("a.test", 1)), (2, _A), (1, question("a.test", 1)), (4, b"\x20")),
    operations((0, b"\1"), (1, question("a.test", 1)), (2, _A), (2, _A * 2), (4, b"\1"), (3, b"")),
    operations((0, b"\2"), (1, question("b.test", 28)), (2, b""), (2, _A), (4, b"\x40"), (1, question("b.test", 28))),
    operations((0, b"\3"), (1, question("c.test", 1)), (1, question("2.128.18.198.in-addr.arpa", 12)), (4, b"\xff")),
]


class _World:
    """What surrounds the resolver."""

    def __init__(self, choice: int) -> None:
        self.now = 0.0
        self.asks: list[tuple[bytes, Callable[[bytes, str, float], None], Callable[[str, float], None]]] = []
        fake = FakeIPMap("198.18.128.0/28", "fd00::/112") if choice == 3 else None
        self.resolver = Resolver(
            self, ResolverPlan(_SELECTORS[choice % 3]), Cache(entries=8, size=4096, stale=60), fake
        )

    def ask(
        self, group: str, query: bytes, heard: Callable[[bytes, str, float], None], ended: Callable[[str, float], None]
    ) -> Callable[[], None]:
        """Remember who was asked."""
        parse_query_untrusted(query)
        assert group
        self.asks.append((query, heard, ended))
        return lambda: None

    def query(self, message: bytes) -> None:
        """A client asks."""

        def answered(reply: bytes) -> None:
            query = parse_query_untrusted(message)
            assert reply[:2] == message[:2]
            assert is_answer(reply, query)
            assert reply[HEADER.size : HEADER.size + len(query.question)] == query.question
            assert len(reply) <= query.udp_size

        try:
            asked = ClientQuery.of_untrusted(message)
        except BadPacket:
            return
        self.resolver.query(asked, b"\1\2\3\4", False, answered, self.now)

    def reply(self, records: bytes) -> None:
        """The resolver that was asked last says something."""
        if not self.asks:
            return
        query, heard, _ = self.asks[-1]
        asked = parse_query_untrusted(query)
        end = HEADER.size + len(asked.question)
        count = len(records) // len(_A)
        heard(
            query[:2] + b"\x81\x80\0\1" + count.to_bytes(2, "big") + bytes(4) + query[12:end] + records, "r", self.now
        )
        if is_answer(records, asked):  # an asker lets nothing else through
            heard(records, "r", self.now)

    def end(self) -> None:
        """The resolver that was asked last has nothing to say."""
        if self.asks:
            self.asks.pop()[2]("gone", self.now)

    def wait(self, tenths: int) -> None:
        """Time passes."""
        self.now += tenths / 10
        resolver = self.resolver
        for _ in range(10_000):
            due = resolver.next_timeout()
            if due is None or due > self.now:
                return
            resolver.handle_timeout(self.now)
        raise AssertionError("time-outs without end")


def one_input(data: bytes) -> None:
    """Perform the operations."""
    world = _World(data[3] % 4 if data[:1] == b"\0" and len(data) > 3 else 0)
    at = 0
    while at + 3 <= len(data):
        kind, size = data[at] % 5, int.from_bytes(data[at + 1 : at + 3], "big")
        argument = data[at + 3 : at + 3 + size]
        at += 3 + size
        if kind == 1:
            world.query(argument)
        elif kind == 2:
            world.reply(argument)
        elif kind == 3:
            world.end()
        elif kind == 4:
            world.wait(sum(argument))
        resolver = world.resolver
        assert len(resolver) <= MOST_LOOKUPS
        assert len(resolver.cache) <= 8
        assert resolver.cache.bytes_held <= 4096
    world.wait(1000)
    assert len(world.resolver) == 0
    assert world.resolver.next_timeout() is None
