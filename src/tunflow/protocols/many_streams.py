"""What sessions of many streams at a time have in common, whatever their frames are: the streams, and how all end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunflow.errors import BadPacket
from tunflow.protocols.shared_stream import SharedStream


class ManyStreams:
    """The streams of one session. In part as `PooledSession`."""

    def __init__(self) -> None:
        self._streams: dict[int, SharedStream] = {}
        """By their numbers."""
        self._changed: dict[SharedStream, None] = {}
        self._said: dict[SharedStream, None] = {}
        """Those with something to say, in turn."""
        self.wake: Callable[[], None] = _nobody
        self.is_blocked = False
        """True if the stream below has bytes that it does not take yet."""
        self.stands = self.is_over = False
        self.failure: OSError | BadPacket | None = None
        self.waiting: list[Callable[[], None]] = []

    @property
    def load(self) -> int:
        """As `PooledSession.load`."""
        return len(self._streams) + len(self.waiting)

    def tell_waiting(self) -> None:
        """As `PooledSession.tell_waiting`."""
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            call()

    def block(self, is_blocked: bool) -> None:
        """As `StreamSession.block`."""
        self.is_blocked = is_blocked
        if not is_blocked:
            self._changed.update((each, None) for each in self._streams.values())

    def take_changed(self) -> Sequence[SharedStream]:
        """As `StreamSession.take_changed`."""
        changed, self._changed = self._changed, {}
        return list(changed)

    def end(self, why: OSError | BadPacket) -> None:
        """As `StreamSession.end`."""
        if self.is_over:
            return
        self.is_over = True
        self.failure = why
        for stream in self._streams.values():
            stream.over(reset=True)
            self._changed[stream] = None
        self._streams.clear()
        self.tell_waiting()


def _nobody() -> None:
    """Nobody carries it yet."""
