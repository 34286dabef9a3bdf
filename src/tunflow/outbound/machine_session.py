"""A session of a `SessionMachine`: served on the loop, by a socket to the server or by the hop below.

Rules:
1. A server that says nothing for `SILENCE` seconds although it is asked gets another socket, to its next address, and a
   socket whose path is gone is replaced at once: the session survives a change of networks and of translators, since
   its machine does not know addresses.
2. Where the server has several ports, another socket to another of them is taken every `hop_every` seconds; what is
   under way to the one before still arrives.
3. `SILENT_SOCKETS` in a row that heard nothing end the session: the server is another one by now, or gone.
4. A server that does not take us within `PATIENCE` seconds counts as one that does not answer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from random import Random

from tunflow.contained import Contained
from tunflow.endpoint import Address, Buffer, Endpoint
from tunflow.loop.path import Path
from tunflow.loop.reactor import Timer
from tunflow.outbound.direct import DirectOutbound, FirstHop
from tunflow.outbound.session_outbound import Received, SessionListener, SessionPlace
from tunflow.outbound.session_wire import BelowWire, SocketWire
from tunflow.protocols.contract import DatagramConduit, Dialled, Outbound
from tunflow.protocols.session import MachineSession

PATIENCE = 10.0
SILENCE = 3.0
SILENT_SOCKETS = 3
"""In seconds but for the last, as the rules say."""

LOOK_EVERY = 1.0
"""Seconds between two looks whether one of them applies."""

LARGEST = 1350
"""Bytes of a datagram to a first server: what reaches nearly everywhere without asking the path."""
LARGEST_BELOW = 1200
"""The same behind other servers: the least that QUIC wants (RFC 9000 §14)."""


class MachineRunner(Contained):
    """Connects at once. As `session_outbound.SharedSession` and `SharedConnection`. Raises OSError."""

    def __init__(self, place: SessionPlace, told: SessionListener, server: MachineSession, below: Outbound) -> None:
        self._place = place
        self._reactor = place.reactor
        self._told: SessionListener | None = told
        self._server = server
        self._below = below
        self._is_first = isinstance(below, FirstHop | DirectOutbound)
        self._random = Random(os.urandom(8))
        self._attempts = 0
        self._silent_sockets = 0
        self._wire: SocketWire | BelowWire | None = None
        self._last_wire: SocketWire | BelowWire | None = None
        self._timer: Timer | None = None
        self._has_stood = False
        self._has_arrived = False
        self._began = self._wire_since = self._reactor.now
        self._machine = server.machine(LARGEST if self._is_first else LARGEST_BELOW)
        self._wire = self._open_wire()
        self._machine.connect(self._reactor.now)
        self._reactor.at_round_end(self._flush)
        self._look_timer = self._reactor.call_later(LOOK_EVERY, self._look)
        self._reactor.call_soon(self._flush)
        self._reactor.shared.add(self)

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"the connection to {self._server.label}"

    def cut(self) -> None:
        """As `Contained.cut`."""
        self._end("a mistake of ours ended the connection")

    @property
    def path(self) -> Path | None:
        """As `SharedConnection.path`."""
        return None if self._wire is None else self._wire.path

    def path_lost(self) -> None:
        """As `SharedConnection.path_lost`: its machine does not know addresses."""
        self._change_wire()

    @property
    def is_used(self) -> bool:
        """As `SharedSession.is_used`."""
        return self._machine.is_used

    @property
    def is_drained(self) -> bool:
        """As `SharedSession.is_drained`."""
        return self._machine.is_drained

    def dial(self, _target: Endpoint, dialled: Dialled) -> Callable[[], None]:
        """As `SharedSession.dial`: a stream stands at once, and its codec asks for the target."""
        conduit = self._machine.open_stream()
        waiting: list[Dialled] = [dialled]

        def tell() -> None:
            if waiting:
                waiting.pop()(conduit, 0)

        def give_up() -> None:
            if waiting:
                waiting.clear()
                conduit.abort()

        self._reactor.call_soon(tell)
        return give_up

    def open_datagrams(self, received: Received) -> DatagramConduit:
        """As `SharedSession.open_datagrams`."""
        return self._machine.open_flow(received)

    def close(self) -> None:
        """As `SharedSession.close`."""
        if self._told is not None:
            self._told = None
            self._machine.close(self._reactor.now)
            self._transmit()
            self._leave()

    # The wire.

    def _open_wire(self) -> SocketWire | BelowWire:
        """Raises OSError."""
        self._wire_since = self._reactor.now
        place, ports = self._place, self._server.ports
        port = self._random.choice(ports) if ports else self._server.server.port
        if not self._is_first:
            server = Endpoint(self._server.server.host, port)
            return BelowWire(place.reactor, self._below, server, place.sockets, self._arrived, self._failed)
        address = self._next_address().with_port(port)
        return SocketWire(place.reactor, address, place.sockets, self._arrived, self._failed)

    def _next_address(self) -> Address:
        """The server's addresses in turns, beginning with the one that last worked."""
        known = self._below.server
        assert known is not None
        addresses = known.in_order
        return addresses[self._attempts % len(addresses)]

    def _change_wire(self) -> None:
        """Go on by another socket."""
        try:
            wire = self._open_wire()
        except OSError as error:
            if not self._has_stood:
                self._end(error.strerror or str(error))
            return
        if self._last_wire is not None:
            self._last_wire.close()
        self._last_wire, self._wire = self._wire, wire

    def _failed(self, error: int) -> None:
        """What ICMP, or this host, says of the way."""
        if self._has_stood:
            return  # the silence that follows tells whether it is so
        known = self._below.server
        self._attempts += 1
        if self._is_first and known is not None and self._attempts < len(known.in_order):
            self._change_wire()
        else:
            if known is not None:
                known.doubted(self._reactor.now)
            self._end(os.strerror(error))

    # Rounds.

    def _arrived(self, datagrams: Sequence[Buffer]) -> None:
        now = self._reactor.now
        self._has_arrived = True
        for datagram in datagrams:
            self._machine.receive_untrusted(datagram, now)
        self._serve()

    def _on_timer(self) -> None:
        self._timer = None
        self._machine.handle_timeout(self._reactor.now)
        self._serve()

    def _serve(self) -> None:
        """Tell everybody what happened; what they say to it leaves at the end of the round."""
        machine = self._machine
        self._tell_users()
        if machine.stands and not self._has_stood:
            self._has_stood = True
            if isinstance(self._wire, SocketWire) and self._below.server is not None:
                known = self._below.server
                known.worked(self._next_address())
                self._attempts = 0
            if self._told is not None:
                self._told.stands()
        if machine.over is not None:
            self._end(machine.over)

    def _tell_users(self) -> None:
        changed = self._machine.changed
        while changed:
            users = [conduit.user for conduit in changed]
            changed.clear()
            for user in users:
                if user is not None:
                    self._reactor.contained(user.service)

    def _flush(self) -> None:
        machine = self._machine
        if machine.changed:
            self._reactor.call_soon(self._serve)
        if not machine.has_output or self._told is None:
            return
        self._transmit()
        if self._timer is not None:
            self._timer.cancel()
        when = machine.next_timeout()
        self._timer = None if when is None else self._reactor.call_at(when, self._on_timer)

    def _transmit(self) -> None:
        datagrams = self._machine.outgoing(self._reactor.now)
        if datagrams and self._wire is not None:
            self._wire.send(datagrams)

    def _look(self) -> None:
        """Once a second: is the server there, and is it time to hop?"""
        now, machine = self._reactor.now, self._machine
        self._look_timer = self._reactor.call_later(LOOK_EVERY, self._look)
        if not machine.stands and now - self._began >= PATIENCE:
            if self._below.server is not None:
                self._below.server.doubted(now)
            if self._has_arrived and machine.heard_at is None:
                self._end("what answers is no server of this protocol: nothing that it sends can be read")
            else:
                self._end(f"no answer within {PATIENCE:.0f} s")
            return
        heard = machine.heard_at or self._began
        if heard > self._wire_since:
            self._silent_sockets = 0
        if now - max(heard, self._wire_since) >= SILENCE and not (machine.stands and machine.is_drained):
            if machine.stands and self._silent_sockets == SILENT_SOCKETS:
                self._end(f"nothing heard by {SILENT_SOCKETS} sockets in a row")
                return
            self._attempts += 1
            self._silent_sockets += 1
            self._change_wire()
        elif self._server.ports and now - self._wire_since >= self._server.hop_every:
            self._change_wire()

    # The end.

    def _end(self, why: str) -> None:
        told, self._told = self._told, None
        if told is None:
            return
        self._machine.close(self._reactor.now)
        self._transmit()
        self._tell_users()
        self._leave()
        told.ended(why)

    def _leave(self) -> None:
        self._reactor.shared.discard(self)
        self._reactor.forget_machine(self._flush)
        self._look_timer.cancel()
        if self._timer is not None:
            self._timer.cancel()
        for wire in (self._wire, self._last_wire):
            if wire is not None:
                wire.close()
        self._wire = self._last_wire = None
