"""A server that is reached by one connection for all flows, as a way out.

Rules:
1. The first flow connects; who comes meanwhile waits, `PATIENCE` seconds at most.
2. A connection that is lost resets its flows. The next flow connects again, after a pause of `SOONEST` seconds that
   doubles up to `LATEST` with each attempt in vain; an attempt in vain fails whoever waits for it.
3. A connection that has carried nothing for `IDLE` seconds is closed.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from tunflow.conduit import Conduit
from tunflow.contained import Contained
from tunflow.endpoint import Buffer, Endpoint
from tunflow.flow import FlowInfo
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor, Timer
from tunflow.loop.sockets import SocketOptions
from tunflow.protocols.codec import Datagram, StreamCodec
from tunflow.protocols.contract import (
    Carries,
    ConduitRoute,
    DatagramConduit,
    Dialled,
    NameSource,
    NoDatagrams,
    NotDialled,
    Outbound,
    SharedDatagrams,
)

PATIENCE = 10.0
SOONEST = 0.5
LATEST = 30.0
IDLE = 120.0
"""Seconds, all four, as the rules say."""

WAITING = 32
"""Datagrams of one client socket that wait for the connection."""

Received = Callable[[Sequence[Datagram]], None]


class SessionPlace(NamedTuple):
    """Where sessions are served."""

    reactor: Reactor
    sockets: SocketOptions
    log: CauseLog


class SessionListener(Protocol):
    """Who hears from a session; not from within its constructor, nor after its `close`."""

    def stands(self) -> None:
        """The server took us."""

    def ended(self, why: str) -> None:
        """It is over; its streams have been reset."""


class SharedSession(Protocol):
    """One connection to a server."""

    @property
    def is_used(self) -> bool:
        """True if flows are in it."""

    @property
    def is_drained(self) -> bool:
        """True if the server has all that was sent."""

    def dial(self, target: Endpoint, dialled: Dialled) -> Callable[[], None]:
        """As `ConduitRoute.dial`, once it stands."""

    def open_datagrams(self, received: Received) -> DatagramConduit:
        """A way for the datagrams of one client socket, once it stands."""

    def close(self) -> None:
        """End it in order; nobody is told."""


class SessionOutbound:
    """As `contract.Outbound`; `stream_to` gives what is said on a stream, None where the dialing says all."""

    wants_flow = False
    resolver: NameSource | None = None

    def __init__(
        self,
        label: str,
        below: Outbound,
        carries: Carries,
        begin: Callable[[SessionPlace, SessionListener], SharedSession],
        stream_to: Callable[[Endpoint], StreamCodec] | None = None,
    ) -> None:
        self.label = f"{below.label} -> {label}" if below.server is not None and below.label else label
        self.server = below.server
        self.carries = carries
        self.place: SessionPlace | None = None
        """Where it is served; None while nobody does."""
        self.session: SharedSession | None = None
        """The connection that stands."""
        self.trouble: str | None = None
        """Why there is none, after an attempt in vain."""
        self._own_label = label
        self._begin = begin
        self._stream_to = stream_to
        self._attempt: SharedSession | None = None
        self._waiting: list[Callable[[], None]] = []
        self._pause = SOONEST
        self._again_at = 0.0
        self._timer: Timer | None = None

    def stream(self, target: Endpoint, flow: FlowInfo | None = None) -> ConduitRoute:  # noqa: ARG002
        """A stream of the session. Raises ProxyRefused for a target that cannot be asked for."""
        codec = None if self._stream_to is None else self._stream_to(target)
        return ConduitRoute(
            lambda dialled, _carrier: _Dial(self, target, dialled).cancel, codec, self.label, self._trouble
        )

    def datagrams(self) -> SharedDatagrams:
        """Datagrams of the session. Raises NoDatagrams."""
        if Carries.DATAGRAMS not in self.carries:
            raise NoDatagrams(f"{self._own_label} carries no UDP")
        return SharedDatagrams(lambda received: _Datagrams(self, received), self.label)

    @property
    def is_drained(self) -> bool:
        """As `SharedSession.is_drained`."""
        return self.session is None or self.session.is_drained

    @property
    def is_resting(self) -> bool:
        """True if the server did not take us just now."""
        return self.place is not None and self.session is None and self.place.reactor.now < self._again_at

    def want(self, call: Callable[[], None]) -> None:
        """Call once there is a session, or an attempt at one has failed; at once if there is one."""
        if self.session is not None:
            call()
            return
        self._waiting = [*self._waiting[-1000:], call]
        self._connect()

    def close(self) -> None:
        """End it."""
        self._cancel_timer()
        session, self.session, self._attempt = self.session or self._attempt, None, None
        if session is not None:
            session.close()

    # As `SessionListener`.

    def stands(self) -> None:
        """As `SessionListener.stands`."""
        self.session, self._attempt, self.trouble = self._attempt, None, None
        self._pause = SOONEST
        assert self.place is not None
        self._timer = self.place.reactor.call_later(IDLE, self._look_whether_used)
        self._tell_waiting()

    def ended(self, why: str) -> None:
        """As `SessionListener.ended`."""
        assert self.place is not None
        self._cancel_timer()
        had_stood = self.session is not None
        self.session = self._attempt = None
        self.trouble = why
        self._again_at = self.place.reactor.now + self._pause
        self._pause = min(LATEST, self._pause * 2)
        words = "the connection was lost" if had_stood else "cannot be used"
        self.place.log.tell(f"session {self.label} {why}", f"the server {self.label}: {words}: {why}")
        self._tell_waiting()

    # Inside.

    def _trouble(self) -> str | None:
        return self.trouble

    def _connect(self) -> None:
        """Begin, unless that was done, or it is too soon."""
        place = self.place
        if place is None or self._attempt is not None or self.session is not None:
            return
        left = self._again_at - place.reactor.now
        if left > 0:
            if self._timer is None:
                self._timer = place.reactor.call_later(left, self._connect)
            return
        self._cancel_timer()
        try:
            self._attempt = self._begin(place, self)
        except OSError as error:
            why = error.strerror or str(error)
            place.reactor.call_soon(lambda: self.ended(why))

    def _tell_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()

    def _look_whether_used(self) -> None:
        assert self.place is not None
        self._timer = None
        if self.session is None:
            return
        if self.session.is_used:
            self._timer = self.place.reactor.call_later(IDLE, self._look_whether_used)
        else:
            self.close()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Dial(Contained):
    """A stream that is being opened."""

    def __init__(self, outbound: SessionOutbound, target: Endpoint, dialled: Dialled) -> None:
        self._outbound = outbound
        self._target = target
        self._dialled: Dialled | None = dialled
        self._give_up: Callable[[], None] | None = None
        self._timer: Timer | None = None
        assert outbound.place is not None, "nobody serves the session"
        reactor = self._reactor = outbound.place.reactor
        self._timer = reactor.call_later(PATIENCE, lambda: self._tell(None, errno.ENETDOWN))
        reactor.call_soon(lambda: outbound.want(self._on_session))  # not from within the one that asks

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"a connection to {self._target} in {self._outbound.label}"

    def cut(self) -> None:
        """As `Contained.cut`."""
        self._tell(None, errno.ECONNABORTED)

    def cancel(self) -> None:
        """Nobody waits any more."""
        self._dialled = None
        self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._give_up is not None:
            give_up, self._give_up = self._give_up, None
            give_up()

    def _on_session(self) -> None:
        session = self._outbound.session
        if self._dialled is None:
            return
        if session is None:
            self._tell(None, errno.ENETDOWN)
            return
        assert self._timer is not None
        self._timer.cancel()  # how long a target may take is its server's to say
        self._give_up = session.dial(self._target, self._opened)

    def _opened(self, conduit: Conduit | None, error: NotDialled) -> None:
        self._give_up = None
        self._tell(conduit, error)

    def _tell(self, conduit: Conduit | None, error: NotDialled) -> None:
        dialled, self._dialled = self._dialled, None
        self._stop()
        if dialled is not None:
            dialled(conduit, error)
        elif conduit is not None:
            conduit.abort()


class _Datagrams:
    """One client socket's datagrams. As `DatagramConduit`."""

    def __init__(self, outbound: SessionOutbound, received: Received) -> None:
        self._outbound = outbound
        self._received = received
        self._session: SharedSession | None = None
        self._conduit: DatagramConduit | None = None
        self._waiting: list[tuple[Endpoint, list[bytes]]] = []

    @property
    def is_resting(self) -> bool:
        """As `DatagramConduit.is_resting`."""
        return self._outbound.is_resting if self._conduit is None else self._conduit.is_resting

    def send(self, target: Endpoint, payloads: Sequence[Buffer]) -> int:
        """As `DatagramConduit.send`."""
        session = self._outbound.session
        if session is None:
            if self.is_resting or len(self._waiting) >= WAITING:
                return len(payloads)
            self._waiting.append((target, [bytes(payload) for payload in payloads]))
            if len(self._waiting) == 1:
                self._outbound.want(self._on_session)
            return 0
        if self._conduit is None or session is not self._session:
            self._session, self._conduit = session, session.open_datagrams(self._received)
        return self._conduit.send(target, payloads)

    def close(self) -> None:
        """As `DatagramConduit.close`."""
        self._waiting.clear()
        if self._conduit is not None:
            self._conduit.close()
            self._conduit = None

    def _on_session(self) -> None:
        waiting, self._waiting = self._waiting, []
        if self._outbound.session is not None:
            for target, payloads in waiting:
                self.send(target, payloads)
