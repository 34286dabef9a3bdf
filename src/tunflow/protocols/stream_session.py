"""A session: one stream to a server that carries the streams of many, as a machine.

Whoever carries it (`contract.SessionCarrier`) hands it what comes on that stream, takes what it has to say, serves its
timers and has the owners of its streams look at them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

from tunflow.contained import Contained
from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket


class SessionStream(Contained):
    """A stream in a session, which a bug in its owner ends alone."""

    __slots__ = ()

    @abstractmethod
    def serve(self) -> None:
        """Have the owner look at it."""


class StreamSession(Protocol):
    """One session. It is told of everything from the loop's thread, and calls nobody from within but `wake`."""

    wake: Callable[[], None]
    """To be called when there is something to say, or somebody to serve, at another time than within the calls below;
    set by the carrier."""

    @property
    def is_over(self) -> bool:
        """True if all of it has ended, so that the stream below can be closed."""

    @property
    def is_full(self) -> bool:
        """True if nothing more is to be read for now; `wake` says that this changed."""

    def connected(self, now: float) -> None:
        """The stream below stands."""

    def receive_untrusted(self, data: Buffer, now: float) -> None:
        """Take what came on the stream below. Raises BadPacket, behind which `end` is due."""

    def outgoing(self, now: float) -> bytes:
        """What is to be said by now, as far as it goes in one record; empty if there is no more."""

    def block(self, is_blocked: bool) -> None:
        """Say whether the stream below has bytes that it does not take yet."""

    def take_changed(self) -> Sequence[SessionStream]:
        """The streams that changed since this was last asked."""

    def end(self, why: OSError | BadPacket) -> None:
        """The stream below is over, or cannot be had: so is all that is in it."""

    def next_timeout(self) -> float | None:
        """As `Timed.next_timeout`."""

    def handle_timeout(self, now: float) -> None:
        """As `Timed.handle_timeout`."""
