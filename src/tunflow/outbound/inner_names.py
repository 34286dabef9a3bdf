"""Names looked up through a tunnel, at the resolvers that it brings along; what is not there goes to `USUAL`.

A stub (RFC 1035 §5.3.1): both kinds of address are asked for at once, each resolver has `AGAIN` seconds, and what was
found is kept as long as it says, within bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunflow.dns.answers import AAAA, A, addresses_untrusted, lifetime, parse_answer_untrusted
from tunflow.dns.messages import is_answer, parse_query_untrusted, with_identifier
from tunflow.dns.questions import question
from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket, LocalError
from tunflow.loop.reactor import Timer
from tunflow.outbound.inner_stack import InnerStack
from tunflow.protocols.codec import Datagram

USUAL = (bytes((1, 1, 1, 1)), bytes((8, 8, 8, 8)))
PORT = 53
AGAIN = 1.5
TRIES = 3
"""Times that a resolver, one after the other, is asked."""
KEPT = 512
LONGEST = 300.0
"""Seconds for which an answer is believed at most."""

Found = Callable[[Sequence[bytes]], None]


class InnerNames:
    """Looks names up through `inner` at `servers`, packed addresses. `draw` gives random bytes."""

    def __init__(self, inner: InnerStack, servers: Sequence[bytes], draw: Callable[[int], bytes]) -> None:
        self._inner = inner
        self._servers = [server for server in servers if inner.has_family(len(server))]
        self._servers = self._servers or [server for server in USUAL if inner.has_family(len(server))]
        self._draw = draw
        self._known: dict[str, tuple[float, tuple[bytes, ...]]] = {}

    def resolve(self, name: str, found: Found) -> None:
        """Tell the packed addresses of a name, none where it has none; perhaps from within."""
        known = self._known.get(name)
        if known is not None and known[0] > self._inner.reactor.now:
            found(known[1])
            return
        try:
            _Lookup(self._inner, name, self._servers, self._draw, self._keep(name, found))
        except (OSError, LocalError):
            found(())

    def _keep(self, name: str, found: Found) -> Callable[[Sequence[bytes], float], None]:
        def keep(addresses: Sequence[bytes], seconds: float) -> None:
            if len(self._known) >= KEPT:
                self._known.clear()
            if addresses:
                self._known[name] = self._inner.reactor.now + min(seconds, LONGEST), tuple(addresses)
            found(addresses)

        return keep


class _Lookup:
    """One name on its way. Raises OSError, or LocalError for what is no name."""

    def __init__(
        self,
        inner: InnerStack,
        name: str,
        servers: Sequence[bytes],
        draw: Callable[[int], bytes],
        done: Callable[[Sequence[bytes], float], None],
    ) -> None:
        self._inner = inner
        self._servers = servers
        self._done = done
        kinds = [kind for kind, size in ((A, 4), (AAAA, 16)) if inner.has_family(size)]
        self._waiting = {int.from_bytes(draw(2), "big"): question(name, kind) for kind in kinds}
        self._found: dict[int, list[bytes]] = {}
        self._seconds = LONGEST
        self._tries = 0
        self._timer: Timer | None = None
        self._socket = inner.open_socket(self._heard)
        self._ask()

    def _ask(self) -> None:
        if self._tries >= TRIES or not self._servers:
            self._end()
            return
        server = Endpoint(self._servers[self._tries % len(self._servers)], PORT)
        self._tries += 1
        queries = [with_identifier(message, number) for number, message in self._waiting.items()]
        self._socket.send(server, queries)
        self._timer = self._inner.reactor.call_later(AGAIN, self._ask)

    def _heard(self, datagrams: Sequence[Datagram]) -> None:
        for source, payload in datagrams:
            number = int.from_bytes(payload[:2], "big")
            asked = self._waiting.get(number)
            if asked is None or source.port != PORT or not is_answer(payload, parse_query_untrusted(asked)):
                continue
            try:
                answer = parse_answer_untrusted(bytes(payload))
                self._found[number] = addresses_untrusted(answer)
            except BadPacket:
                continue
            if self._found[number]:
                self._seconds = min(self._seconds, float(lifetime(answer) or 0))
            del self._waiting[number]
            if not self._waiting:
                self._end()
                return

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._socket.close()
        addresses = sorted((each for found in self._found.values() for each in found), key=len)
        self._done(addresses, self._seconds)
