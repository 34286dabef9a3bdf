"""Clients' queries out of the packet path: datagrams to port 53, and DNS over TCP on the stack's own connections.

Read first: RFC 7766 §6 (pipelining, out-of-order answers, idle connections), RFC 1035 §4.2.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from tunflow.conduit import ClientStream
from tunflow.dns.messages import Deframer, frame
from tunflow.endpoint import Buffer
from tunflow.flow import TCP, UDP, FlowInfo
from tunflow.stack.udp import UDPFlow, UDPRun

if TYPE_CHECKING:
    from tunflow.dataplane.driver import Driver
    from tunflow.names.name_server import NameServer

ONE_SHOT = 4
"""Datagrams from a socket up to which it is taken for a stub resolver's, which asks for a name (A and AAAA, perhaps
twice) and is closed: then its mapping goes with the last answer, and makes room for flows that last."""
PIPELINED = 64
"""Queries of one connection in work at a time; more wait in its window."""
IDLE = 30.0
"""Seconds without a query after which a client's connection is closed (RFC 7766 §6.2.3: a few seconds)."""
_TAKE = 16 * 1024


class DatagramQueries:
    """One client socket's queries to one address."""

    __slots__ = ("_asked", "_driver", "_flow", "_info", "_names", "_target")

    def __init__(self, names: NameServer, driver: Driver, flow: UDPFlow) -> None:
        self._names = names
        self._driver = driver
        self._flow = flow
        self._target = flow.target
        self._info = FlowInfo(UDP, flow.mapping.client, flow.target, find=driver.find_process)
        self._asked = 0
        """Queries that wait for their answers."""

    def send(self, run: UDPRun) -> None:
        """Answer each."""
        for query in run.datagrams():
            self._driver.statistics.dns_queries += 1
            self._asked += 1
            self._names.query(bytes(query), self._info, self._reply, self._gone)

    def close(self) -> None:
        """Nothing is held; answers that still come go to a socket that is gone, and are dropped there."""

    def _gone(self) -> None:
        self._asked -= 1

    def _reply(self, message: bytes) -> None:
        mapping = self._flow.mapping
        self._driver.context.deliver(mapping, self._target, (message,))
        self._asked -= 1
        if not self._asked and mapping.only_target == self._target and mapping.datagrams_out <= ONE_SHOT:
            self._driver.stack.udp.close(mapping)


class StreamQueries:
    """One client connection to port 53."""

    __slots__ = ("_asked", "_connection", "_deframer", "_driver", "_info", "_names", "_replies", "_serving", "_used_at")

    def __init__(self, names: NameServer, driver: Driver, connection: ClientStream) -> None:
        self._names = names
        self._driver = driver
        self._connection = connection
        self._info = FlowInfo(TCP, connection.client, connection.target, find=driver.find_process)
        self._deframer = Deframer()
        self._asked = 0
        self._replies: deque[bytes] = deque()
        self._serving = False
        self._used_at = driver.reactor.now
        if connection.held:
            connection.accept(driver.reactor.now)
        self._watch_idle()

    def rebind(self, stream: ClientStream) -> None:
        """Go on with `stream`, which is the same flow."""
        self._connection = stream

    def service(self) -> None:
        """Bytes, room, or the end."""
        connection = self._connection
        if connection.closed or self._serving:
            return
        self._serving = True
        now = self._driver.reactor.now
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
            self._driver.statistics.dns_queries += 1
            self._asked += 1
            self._names.query(message, self._info, self._reply, self._gone)

    def _gone(self) -> None:
        self._asked -= 1
        self.service()

    def _reply(self, message: bytes) -> None:
        self._asked -= 1
        self._replies.append(frame(message))
        self.service()

    def _send(self) -> None:
        connection, replies = self._connection, self._replies
        while replies and (room := connection.send_room) > 0:
            whole = replies.popleft()
            connection.send([whole[:room]], self._driver.reactor.now)
            if len(whole) > room:
                replies.appendleft(whole[room:])

    def _watch_idle(self) -> None:
        self._driver.reactor.call_at(self._used_at + IDLE, self._on_idle)

    def _on_idle(self) -> None:
        connection = self._connection
        if connection.closed:
            return
        now = self._driver.reactor.now
        if now >= self._used_at + IDLE:
            if connection.user is self:
                connection.abort() if self._replies else connection.abandon(now)
        else:
            self._watch_idle()
