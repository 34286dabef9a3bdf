"""The sessions with one server, shared by all flows through it: another one is begun when none has room.

One that is lost is not mourned: the next stream begins another.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Generic, NamedTuple, Protocol, TypeVar

from tunflow.conduit import Conduit
from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket
from tunflow.flow import FlowInfo
from tunflow.protocols.contract import (
    Carries,
    ConduitRoute,
    DatagramWay,
    Dialled,
    NameSource,
    NoDatagrams,
    Outbound,
    SessionCarrier,
    StreamRoute,
)
from tunflow.protocols.stream_session import StreamSession


class PooledSession(StreamSession, Protocol):
    """A session that streams can be opened in."""

    stands: bool
    """True if streams can be opened at once."""
    failure: OSError | BadPacket | None
    """Why it is over, where that is out of order."""
    waiting: list[Callable[[], None]]
    """Who wants to know that it stands, or is over."""

    @property
    def load(self) -> int:
        """Streams, and those that wait."""

    @property
    def has_room(self) -> bool:
        """True if another stream may be opened, those that wait counted in."""

    def open(self, now: float) -> Conduit | None:
        """A stream, once it stands; None where there is no more room after all."""

    def tell_waiting(self) -> None:
        """Call those in `waiting`."""


class Spread(NamedTuple):
    """How streams are spread: each of up to `most` sessions has `streams` of them before another one is begun."""

    most: int
    streams: int


Made = TypeVar("Made", bound=PooledSession)


class SessionPool(Generic[Made]):
    """Sessions that `make` makes, each on a stream of its own by `route`."""

    def __init__(
        self, route: Callable[[], StreamRoute], make: Callable[[], Made], spread: Spread | None = None
    ) -> None:
        self._route = route
        self._make = make
        self._spread = spread
        self._sessions: list[Made] = []

    def dial(self, dialled: Dialled, carrier: SessionCarrier) -> Callable[[], None]:
        """As `ConduitRoute.dial`."""
        return _Dial(self, dialled, carrier).cancel

    def with_room(self, carrier: SessionCarrier) -> Made:
        """A session in which a stream may be opened, perhaps one that is being opened itself."""
        self._sessions = [each for each in self._sessions if not each.is_over]
        if (found := self._chosen([each for each in self._sessions if each.has_room])) is not None:
            return found
        made = self._make()
        self._sessions.append(made)
        carrier.carry(self._route(), made)
        return made

    def _chosen(self, with_room: list[Made]) -> Made | None:
        """The first, unless the next stream is to begin another one: then they are spread over up to `_spread`."""
        if not with_room or self._spread is None:
            return with_room[0] if with_room else None
        least = min(with_room, key=lambda each: each.load)
        is_enough = len(self._sessions) >= self._spread.most or least.load < max(1, self._spread.streams)
        return least if is_enough else None


class _Dial:
    """One stream that is to be opened."""

    def __init__(self, sessions: SessionPool[Made], dialled: Dialled, carrier: SessionCarrier) -> None:
        self._dialled: Dialled | None = dialled
        self._carrier = carrier
        self._begin: Callable[[], PooledSession] = lambda: sessions.with_room(carrier)
        self._is_second = False
        self._session = self._wait()

    def cancel(self) -> None:
        """Nobody waits any more."""
        self._dialled = None

    def _wait(self) -> PooledSession:
        session = self._begin()
        session.waiting.append(self._go_on)
        if session.stands or session.is_over:
            self._carrier.call_soon(session.tell_waiting)
        return session

    def _go_on(self) -> None:
        dialled, session = self._dialled, self._session
        if dialled is None:
            return
        stream = session.open(self._carrier.now) if session.stands else None
        if stream is None and session.failure is None and not self._is_second:
            self._is_second = True  # it is leaving, or full: another one takes it
            self._session = self._wait()
            return
        self._dialled = None
        dialled(stream, 0 if stream is not None else session.failure or errno.ECONNREFUSED)


class MultiplexedOutbound:
    """What lies below a protocol that stands on shared sessions: streams to its server, each in one of them.

    As `contract.Outbound`; `below` is what the sessions' own streams go by.
    """

    resolver: NameSource | None = None
    wants_flow = False
    carries = Carries.STREAMS | Carries.NAMES

    def __init__(self, below: Outbound, sessions: SessionPool[Made]) -> None:
        self.label = below.label
        self.server = below.server
        self._dial = sessions.dial

    def stream(self, target: Endpoint, flow: FlowInfo | None = None) -> StreamRoute:  # noqa: ARG002
        """As `Outbound.stream`, to the server whatever the target."""
        return ConduitRoute(self._dial, None, self.label)

    def datagrams(self) -> DatagramWay:
        """As `Outbound.datagrams`. Raises NoDatagrams."""
        raise NoDatagrams("a session of streams carries no UDP")
