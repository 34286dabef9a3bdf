"""From a local proxy port to the target that a client named: straight, or through a dialer's servers."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import NamedTuple, Protocol

from tunflow.contained import Contained
from tunflow.endpoint import Buffer, Endpoint
from tunflow.inbound.connect import Connecting, why
from tunflow.inbound.kept_names import REASON
from tunflow.inbound.relay import Cancellable
from tunflow.inbound.server_context import ServerContext
from tunflow.loop.sockets import UNMARKED
from tunflow.outbound.chain import goes_direct
from tunflow.outbound.client import StreamClient
from tunflow.outbound.refusals import refusal_of
from tunflow.protocols.codec import ProxyRefused, Refusal, StreamCodec
from tunflow.protocols.contract import Blocked, Outbound, StreamRoute

ANSWER_SECONDS = 60.0
"""For the servers to say whether the target is reached."""


class Reached(NamedTuple):
    """A stream to the target."""

    outward: socket.socket
    codec: StreamCodec | None
    """What the servers on the way speak; None where bytes pass as they are."""
    early: list[Buffer]
    """Bytes of the flow that came already."""
    tail: bytes
    """The start of a record that is not whole."""


class OutcomeListener(Protocol):
    """Who wants to know, exactly once, unless it cancels. Both may be called from within `reach`."""

    def reached(self, way: Reached) -> None:
        """The target is there."""

    def not_reached(self, refusal: Refusal, reason: str) -> None:
        """It is not."""


def reach(shared: ServerContext, dialer: Outbound, target: Endpoint, outcome: OutcomeListener) -> Cancellable | None:
    """Begin to reach `target`; None when the outcome was told at once."""
    if target in shared.kept:
        shared.log.tell(f"kept {target}", f"refused {target}: {REASON}")
        outcome.not_reached(Refusal.HOST_UNREACHABLE, REASON)
        return None
    if goes_direct(dialer):
        return Connecting(shared.reactor, shared.resolver, target, _told_directly(shared, target, outcome))
    try:
        route = dialer.stream(target)
    except Blocked as blocked:
        outcome.not_reached(Refusal.PROHIBITED, str(blocked))
        return None
    except ProxyRefused as refused:
        outcome.not_reached(refused.refusal, str(refused))
        return None

    def lost(refusal: Refusal, reason: str) -> None:
        shared.log.tell(f"connect {reason}", f"{dialer.label}: {target}: {reason}")
        outcome.not_reached(refusal, reason)

    return _Dialing(shared, dialer.label, route, outcome.reached, lost)


def _told_directly(
    shared: ServerContext, target: Endpoint, outcome: OutcomeListener
) -> Callable[[socket.socket | None, int], None]:
    def told(outward: socket.socket | None, error: int) -> None:
        if outward is not None:
            outcome.reached(Reached(outward, None, [], b""))
            return
        shared.log.tell(f"connect {target} {error}", f"cannot reach {target}: {why(error)}")
        outcome.not_reached(refusal_of(error), why(error))

    return told


class _Dialing(Contained):
    """The way to the servers, until they agreed."""

    def __init__(
        self,
        shared: ServerContext,
        label: str,
        route: StreamRoute,
        reached: Callable[[Reached], None],
        lost: Callable[[Refusal, str], None],
    ) -> None:
        self._unheard = shared.unheard
        self._label = label
        self._codec = route.codec
        self._reached = reached
        self._not_reached = lost
        self._early: list[Buffer] = []
        reactor = shared.reactor
        self._timer = reactor.call_later(ANSWER_SECONDS, lambda: self._lost(os.strerror(errno.ETIMEDOUT), False))
        self._client = StreamClient(reactor, route, self._early.append, self._lost, UNMARKED, opened=self._opened)

    def cancel(self) -> None:
        """The client is gone."""
        self._timer.cancel()
        self._client.close()

    about = "dialing for a client"

    def cut(self) -> None:
        """As `Contained.cut`."""
        self._lost(os.strerror(errno.ECONNABORTED), False)

    def _opened(self) -> None:
        self._timer.cancel()
        outward, tail = self._client.take_socket()
        codec = self._codec
        if codec is not None and codec.transparent:
            codec = None
        if codec is not None:
            self._unheard.asked(self._label)
        self._reached(Reached(outward, codec, self._early, tail))

    def _lost(self, why: str, _established: bool) -> None:
        self.cancel()
        self._not_reached(self._client.refusal or Refusal.FAILED, why)
