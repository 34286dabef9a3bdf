"""Clients' queries out of the packet path: datagrams to port 53, and DNS over TCP on the stack's own connections.

Read first: RFC 7766 §6 (pipelining, out-of-order answers, idle connections), RFC 1035 §4.2.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from tunflow.conduit import ClientConduit
from tunflow.contained import Contained, Lost
from tunflow.dns.messages import SERVER_FAILURE, Deframer, failure, frame, refusal_of_unread
from tunflow.dns.questions import ClientQuery
from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.flow import FlowInfo
from tunflow.loop.reactor import Reactor
from tunflow.stack.stack import Stack
from tunflow.stack.udp import DatagramFlow, UDPMapping, UDPRun

ONE_SHOT = 4
"""Datagrams from a socket up to which it is taken for a stub resolver's, which asks for a name (A and AAAA, perhaps
twice) and is closed: then its mapping goes with the last answer, and makes room for flows that last."""
PIPELINED = 64
"""Queries of one connection in work at a time; more wait in its window."""
IDLE = 30.0
"""Seconds without a query after which a client's connection is closed (RFC 7766 §6.2.3: a few seconds)."""
_TAKE = 16 * 1024
_A_QUERY = Lost("a query")


class QueryCounts(Protocol):
    """What is counted."""

    dns_queries: int


class QueryPlane(Protocol):
    """What answering clients takes of whoever has them: a `FlowContext`."""

    @property
    def reactor(self) -> Reactor:
        """The loop."""

    @property
    def stack(self) -> Stack:
        """The clients' stack."""

    @property
    def statistics(self) -> QueryCounts:
        """Where queries are counted."""

    def deliver(self, mapping: UDPMapping, source: Endpoint, payloads: Sequence[Buffer], gso_size: int = 0) -> None:
        """Bring a client's socket a datagram from `source`."""

    def forget_client(self, mapping: UDPMapping) -> None:
        """Give back what serves a client's UDP socket."""


class Answerer(Protocol):
    """Who answers: a name server."""

    def query(
        self, query: ClientQuery, flow: FlowInfo, reply: Callable[[bytes], None], gone: Callable[[], None] | None = None
    ) -> None:
        """Answer a client's query: at once, later or never (then `gone` is called)."""


class DatagramQueries(Contained):
    """One client socket's queries to one address."""

    __slots__ = ("_asked", "_info", "_mapping", "_names", "_plane", "_target")

    def __init__(self, names: Answerer, plane: QueryPlane, udp: DatagramFlow, flow: FlowInfo) -> None:
        self._names = names
        self._plane = plane
        self._mapping = udp.mapping
        self._target = udp.target
        self._info = flow
        self._asked = 0
        """Queries that wait for their answers."""

    def send(self, run: UDPRun) -> None:
        """Answer each."""
        for message in run.datagrams():
            self._plane.statistics.dns_queries += 1
            try:
                query = ClientQuery.of_untrusted(message)
            except BadPacket:
                if (refusal := refusal_of_unread(message)) is not None:
                    self._plane.deliver(self._mapping, self._target, (refusal,))
                continue
            self._asked += 1
            try:
                self._names.query(query, self._info, self._reply, self._gone)
            except Exception as error:
                self._plane.reactor.contain(error, _A_QUERY)
                self._reply(failure(query.query, SERVER_FAILURE))

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"dns {self._mapping.client}"

    def cut(self) -> None:
        """As `Contained.cut`."""
        self._plane.forget_client(self._mapping)

    def close(self) -> None:
        """Nothing is held; answers that still come go to a socket that is gone, and are dropped there."""

    def _gone(self) -> None:
        self._asked -= 1

    def _reply(self, message: bytes) -> None:
        mapping = self._mapping
        try:
            self._plane.deliver(mapping, self._target, (message,))
        except Exception as error:  # those who have asked the same are not to be kept from their answers
            self._plane.reactor.contain(error, self)
            return
        self._asked -= 1
        if not self._asked and mapping.only_target == self._target and mapping.datagrams_out <= ONE_SHOT:
            self._plane.stack.udp.close(mapping)


class StreamQueries(Contained):
    """One client connection to port 53."""

    __slots__ = ("_asked", "_connection", "_deframer", "_info", "_names", "_plane", "_replies", "_serving", "_used_at")

    def __init__(self, names: Answerer, plane: QueryPlane, connection: ClientConduit, flow: FlowInfo) -> None:
        self._names = names
        self._plane = plane
        self._connection = connection
        self._info = flow
        self._deframer = Deframer()
        self._asked = 0
        self._replies: deque[bytes] = deque()
        self._serving = False
        self._used_at = plane.reactor.now
        if connection.held:
            connection.accept(plane.reactor.now)
        self._watch_idle()

    def rebind(self, stream: ClientConduit) -> None:
        """Go on with `stream`, which is the same flow."""
        self._connection = stream

    def service(self) -> None:
        """Bytes, room, or the end."""
        connection = self._connection
        if connection.closed or self._serving:
            return
        self._serving = True
        now = self._plane.reactor.now
        while connection.readable and self._asked + len(self._replies) < PIPELINED:
            for piece in connection.take(min(connection.readable, _TAKE)):
                self._receive(piece)
            self._used_at = now
        self._send()
        self._serving = False
        if connection.at_eof and not self._asked and not self._replies:
            connection.abandon(now)

    def _receive(self, piece: Buffer) -> None:
        for message in self._deframer.receive(piece):
            self._plane.statistics.dns_queries += 1
            try:
                query = ClientQuery.of_untrusted(message)
            except BadPacket:
                if (refusal := refusal_of_unread(message)) is not None:
                    self._replies.append(frame(refusal))
                continue
            self._asked += 1
            try:
                self._names.query(query, self._info, self._reply, self._gone)
            except Exception as error:
                self._plane.reactor.contain(error, _A_QUERY)
                self._reply(failure(query.query, SERVER_FAILURE))

    def _gone(self) -> None:
        self._asked -= 1
        self._service_late()

    def _reply(self, message: bytes) -> None:
        self._asked -= 1
        self._replies.append(frame(message))
        self._service_late()

    def _service_late(self) -> None:
        """Because of an answer: those who have asked the same are not to be kept from theirs."""
        try:
            self.service()
        except Exception as error:
            self._plane.reactor.contain(error, self)

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"dns over tcp {self._connection.client}"

    def cut(self) -> None:
        """As `Contained.cut`."""
        self._connection.cut()

    def _send(self) -> None:
        connection, replies = self._connection, self._replies
        while replies and (room := connection.send_room) > 0:
            whole = replies.popleft()
            connection.send([whole[:room]], self._plane.reactor.now)
            if len(whole) > room:
                replies.appendleft(whole[room:])

    def _watch_idle(self) -> None:
        self._plane.reactor.call_at(self._used_at + IDLE, self._on_idle)

    def _on_idle(self) -> None:
        connection = self._connection
        if connection.closed:
            return
        now = self._plane.reactor.now
        if now >= self._used_at + IDLE:
            if connection.user is self:
                connection.abort() if self._replies else connection.abandon(now)
        else:
            self._watch_idle()
