"""Waits for a flow's first bytes to learn the name it is for, and then lets it be decided.

Rules:
- The wait is bounded by time and bytes: after that the flow is decided by its address. A server that speaks first gets
  no bytes from a client, so its flows are late by `PATIENCE`, and only where a rule needs the name.
- Nothing is taken: bytes stay in the connection, datagrams are handed on in order.
- A TCP connection must be accepted before its client says anything, so a target that cannot be reached is a reset then
  instead of a refusal (docs/adr/0041).
"""

from __future__ import annotations

from collections.abc import Callable

from tunflow.conduit import ClientConduit
from tunflow.dataplane.decision import DatagramCase, StreamCase
from tunflow.errors import BadPacket
from tunflow.sniff.first_bytes import LARGEST, sniff_untrusted
from tunflow.sniff.quic import SMALLEST_DATAGRAM, InitialSniffer
from tunflow.stack.udp import UDPRun

PATIENCE = 0.3
"""Seconds."""

RUNS = 16
"""Runs of datagrams kept at most while a ClientHello is put together."""

SERVER_SPEAKS_FIRST = frozenset({21, 22, 23, 25, 110, 143, 587, 3306, 5900})
"""FTP, SSH, Telnet, SMTP, POP3, IMAP, submission, MySQL, VNC: their clients wait, so waiting for them is in vain."""


class StreamSniffer:
    """Owns a TCP connection until its name is known; `found(name)` is called once, with None where there is none."""

    def __init__(self, case: StreamCase, found: Callable[[str | None], None]) -> None:
        reactor = case.context.reactor
        self._connection = case.connection
        self._found: Callable[[str | None], None] | None = found
        self._seen = 0
        self._timer = reactor.call_later(PATIENCE, lambda: self._finish(None))
        case.connection.accept(reactor.now)

    def rebind(self, stream: ClientConduit) -> None:
        """Go on with `stream`, which is the same flow."""
        self._connection = stream

    def service(self) -> None:
        """The connection changed."""
        connection = self._connection
        if self._found is None:
            return
        if connection.closed:
            self._finish(None)
            return
        if connection.readable > self._seen:
            self._seen = connection.readable
            try:
                told = sniff_untrusted(b"".join(connection.peek())[:LARGEST])
            except BadPacket:
                self._finish(None)
                return
            if told is not None:
                self._finish(told.hostname)
                return
        if connection.at_eof or self._seen >= LARGEST:
            self._finish(None)

    def _finish(self, name: str | None) -> None:
        found, self._found = self._found, None
        if found is not None:
            self._timer.cancel()
            found(name)


class DatagramSniffer:
    """Owns a UDP flow until its name is known; `found(name)` is called once, and what came until then is kept in the
    case."""

    def __init__(self, case: DatagramCase, found: Callable[[str | None], None]) -> None:
        self._case = case
        self._found: Callable[[str | None], None] | None = found
        self._runs: list[UDPRun] = []
        self._sniffer = InitialSniffer()
        self._timer = case.context.reactor.call_later(PATIENCE, lambda: self._finish(None))

    def send(self, run: UDPRun) -> None:
        """The client sent datagrams."""
        if self._found is None or len(self._runs) >= RUNS:
            return
        self._runs.append(run)
        try:
            for datagram in run.datagrams():
                hello = self._sniffer.receive_untrusted(bytes(datagram))
                if hello is not None:
                    self._finish(hello.server_name)
                    return
        except BadPacket:
            self._finish(None)

    def close(self) -> None:
        """The client is gone."""
        self._found = None
        self._timer.cancel()
        self._runs.clear()

    def _finish(self, name: str | None) -> None:
        found, self._found = self._found, None
        if found is not None:
            self._timer.cancel()
            self._case.kept, self._runs = self._runs, []
            found(name)


def may_be_quic(run: UDPRun) -> bool:
    """Return True if datagrams look like a client's first: long headers, and as long as RFC 9000 §14.1 asks for."""
    first = next(iter(run.datagrams()), b"")
    return len(first) >= SMALLEST_DATAGRAM and first[0] & 0xC0 == 0xC0
