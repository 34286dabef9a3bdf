"""Sessions on the loop: the stream that each runs on is opened, and its machine served with bytes and the time.

A session that is over gives its stream back by itself, so nobody has to hold what carries it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from typing import Protocol

from tunflow.contained import Contained
from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.loop.path import Path
from tunflow.loop.reactor import Reactor, Timer
from tunflow.protocols.contract import StreamRoute
from tunflow.protocols.stream_session import StreamSession

MOST_UNSENT = 512 * 1024
"""Bytes that wait for the stream below; with more the session says nothing new."""


class OpenStream(Protocol):
    """A stream of tunflow's own, as `outbound.client` opens them."""

    failure: OSError | BadPacket | None

    def send(self, pieces: Sequence[Buffer]) -> None:
        """Send bytes, as soon as it is possible."""

    def hold(self, is_held: bool) -> None:
        """Read nothing more for a while, or go on."""

    @property
    def path(self) -> Path | None:
        """The addresses that its packets go between; None when it is not on its way."""

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""

    def close(self) -> None:
        """Give the descriptor back."""


class OpenBy(Protocol):
    """Opens a stream: as `outbound.client.StreamClient`."""

    def __call__(
        self,
        route: StreamRoute,
        received: Callable[[Buffer], None],
        lost: Callable[[str, bool], None],
        opened: Callable[[], None],
        drained: Callable[[], None],
    ) -> OpenStream:
        """The stream, which is being opened."""


class LoopCarrier:
    """As `contract.SessionCarrier`."""

    def __init__(self, reactor: Reactor, open_stream: OpenBy) -> None:
        self._reactor = reactor
        self._open_stream = open_stream

    @property
    def now(self) -> float:
        """As `SessionCarrier.now`."""
        return self._reactor.now

    def call_soon(self, call: Callable[[], None]) -> None:
        """As `SessionCarrier.call_soon`."""
        self._reactor.call_soon(call)

    def carry(self, route: StreamRoute, session: StreamSession) -> None:
        """As `SessionCarrier.carry`."""
        _Carried(self._reactor, route, session, self._open_stream)


class _Carried(Contained):
    """One session and the stream that it runs on. As `SharedConnection`."""

    about = "a session with a server"

    def __init__(self, reactor: Reactor, route: StreamRoute, session: StreamSession, open_stream: OpenBy) -> None:
        self._reactor = reactor
        self._session = session
        self._timer: Timer | None = None
        self._is_awake = self._is_blocked = self._is_held = False
        self._stands = False
        session.wake = self._wake
        self._stream = open_stream(route, self._received, self._lost, self._opened, self._drained)
        reactor.shared.add(self)

    def cut(self) -> None:
        """As `Contained.cut`."""
        self._end(BadPacket("internal error"))

    @property
    def path(self) -> Path | None:
        """As `SharedConnection.path`."""
        return self._stream.path

    def path_lost(self) -> None:
        """As `SharedConnection.path_lost`: its streams are reset, and the next one begins another session."""
        self._end(OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH)))

    def _opened(self) -> None:
        if not self._stands:
            self._stands = True
            self._session.connected(self._reactor.now)
            self._go_on()

    def _received(self, data: Buffer) -> None:
        self._opened()  # what came with the end of a handshake is handed on before that is told
        try:
            self._session.receive_untrusted(data, self._reactor.now)
        except BadPacket as error:
            self._end(error)
            return
        self._go_on()

    def _drained(self) -> None:
        if self._is_blocked:
            self._is_blocked = False
            self._session.block(False)
            self._wake()

    def _lost(self, why: str, _stood: bool) -> None:
        self._end(self._stream.failure or BadPacket(why))

    def _wake(self) -> None:
        if not self._is_awake:
            self._is_awake = True
            self._reactor.call_soon(self._woken)

    def _woken(self) -> None:
        self._is_awake = False
        self._go_on()

    def _on_time(self) -> None:
        self._timer = None
        self._session.handle_timeout(self._reactor.now)
        self._go_on()

    def _go_on(self) -> None:
        """Have owners served, say what there is to say, and close what is over."""
        session, stream = self._session, self._stream
        self._serve()
        if session.is_over:
            self._close()
            return
        if self._stands and self._say():
            if not self._is_blocked and stream.unsent > MOST_UNSENT:
                self._is_blocked = True
                session.block(True)
            self._serve()
        if session.is_full != self._is_held:
            self._is_held = session.is_full
            stream.hold(self._is_held)
        self._arm(session.next_timeout())

    def _say(self) -> bool:
        """Return True if there was something to say, each record of which goes as one."""
        pieces: list[Buffer] = []
        size = 0
        while size <= MOST_UNSENT and (data := self._session.outgoing(self._reactor.now)):
            pieces.append(data)
            size += len(data)
        if pieces:
            self._stream.send(pieces)
        return bool(pieces)

    def _serve(self) -> None:
        left = iter(self._session.take_changed())
        while True:
            try:
                for changed in left:
                    changed.serve()
                return
            except Exception as error:
                self._reactor.contain(error, changed)

    def _arm(self, when: float | None) -> None:
        timer = self._timer
        if timer is not None and (when is None or when < timer.when):
            timer.cancel()
            self._timer = timer = None
        if timer is None and when is not None:
            self._timer = self._reactor.call_at(when, self._on_time)

    def _end(self, why: OSError | BadPacket) -> None:
        self._session.end(why)
        self._serve()
        self._close()

    def _close(self) -> None:
        self._arm(None)
        self._session.wake = _nothing
        self._reactor.shared.discard(self)
        self._stream.close()


def _nothing() -> None:
    """Nobody carries it any more."""
