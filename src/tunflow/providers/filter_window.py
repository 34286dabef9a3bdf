"""One direction of a filtered stream: which bytes may pass, and when the filter wants to look again.

A machine without I/O. The bytes stay where they are (in the connection, or in a list of what came from the far side);
`judge` is told what waits there and says how much of it may go on. Rules, as NEFilterDataVerdict has them:

1. `data(pass_bytes, peek_bytes)` lets so many bytes go, and the filter is asked again when `peek_bytes` after those
   are there, or the direction has ended. It is shown all that is there.
2. `MAX_PEEK` bounds what is held: a filter that asks for more is shown that much.
3. A filter that passes nothing is asked again only when there is more to see. One that has seen all that may be held
   and still passes nothing has not answered: that is a failure of the filter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunflow.endpoint import Buffer
from tunflow.providers.filter_verdicts import FILTER_FLOW_BYTES_MAX, Action, DataVerdict

MAX_PEEK = 64 * 1024
"""Bytes. A connection's window takes them, and every TLS hello and HTTP head fits."""

Ask = Callable[[int, bytes], DataVerdict]


class NotDecided(Exception):
    """The filter saw all that may be held, and neither passed nor refused any of it."""


class FilterWindow:
    """`ask(offset, data)` is the filter's handler of this direction, `complete()` that of its end, which is asked also
    where nothing is left to judge if it `hears_ends`."""

    __slots__ = ("_ask", "_complete", "_hears_ends", "_offset", "_peek", "_shown", "free", "open", "paused")

    def __init__(self, ask: Ask, complete: Callable[[], DataVerdict], peek: int, hears_ends: bool = True) -> None:
        self._ask = ask
        self._hears_ends = hears_ends
        self._complete = complete
        self._offset = 0
        self.free = 0
        """Bytes from here on that may pass without another look."""
        self._peek = peek
        self._shown = 0
        """Bytes at `_offset` that the filter has seen and not passed."""
        self.open = False
        """True if everything passes, unseen."""
        self.paused = False

    @property
    def may_end(self) -> bool:
        """True if nobody need be asked at the end, when nothing waits."""
        return not self._hears_ends and not self.paused

    @property
    def offset(self) -> int:
        """The place in the stream of the first byte that has not passed."""
        return self._offset

    def judge(self, waiting: Sequence[Buffer], size: int, ended: bool) -> tuple[int, DataVerdict | None]:
        """How many of the `size` bytes that wait may go on, and the verdict that is about more than that, if any.

        `ended`: nothing will follow them. Raises NotDecided, and what the filter raises.
        """
        passed = 0
        while not self.paused:
            if self.open:
                return self.pass_on(size - passed) + passed, None
            left = size - passed
            if self.free:
                passed += self.pass_on(min(self.free, left))
                left = size - passed
            if not ended and (self.free or not left):
                break
            if left > self._shown and (ended or left >= min(self._peek, MAX_PEEK)):
                is_one = len(waiting) == 1 and not passed and size <= MAX_PEEK
                data = bytes(waiting[0]) if is_one else _slice(waiting, passed, min(left, MAX_PEEK))
                self._shown = len(data)
                verdict = self._ask(self._offset, data)
                if not ended and verdict.pass_bytes == left and verdict.action is Action.DATA:
                    # All that is there, and no more, as of most requests: what follows comes to the same.
                    self._offset += left
                    self._peek = verdict.peek_bytes
                    self.free = self._shown = 0
                    self.open = self.paused = False
                    return size, None
            elif ended:
                if not left and not self._hears_ends:
                    break
                verdict = self._complete()
                if verdict.action is Action.DATA:
                    self.open = True  # there is nothing to come that could be looked at
                    continue
            elif left >= MAX_PEEK:
                raise NotDecided
            else:
                break
            if not self.apply(verdict):
                return passed, verdict
        return passed, None

    def apply(self, verdict: DataVerdict) -> bool:
        """Take a verdict about this direction. Return False when it is about the whole flow."""
        if verdict.action is Action.DATA:
            self.free = verdict.pass_bytes
            self._peek = verdict.peek_bytes
            self.open = verdict.pass_bytes == FILTER_FLOW_BYTES_MAX
            self.paused = False
            return True
        if verdict.action is Action.PAUSE:
            self.paused = True
        return False

    def close(self) -> None:
        """Nothing will be judged any more: let go of who would be asked, whose window this is."""
        self._ask, self._complete = _over, _nobody

    def pass_on(self, size: int) -> int:
        """So many bytes pass; `size`."""
        if size:
            self._offset += size
            self.free = max(0, self.free - size)
            self._shown = max(0, self._shown - size)
        return size


def _over(offset: int, data: bytes) -> DataVerdict:  # noqa: ARG001
    raise NotDecided


def _nobody() -> DataVerdict:
    raise NotDecided


def _slice(pieces: Sequence[Buffer], start: int, size: int) -> bytes:
    """`size` bytes from `start` of the pieces together."""
    found: list[Buffer] = []
    for piece in pieces:
        length = len(piece)
        if start >= length:
            start -= length
            continue
        part = memoryview(piece)[start : start + size]
        found.append(part)
        size -= len(part)
        start = 0
        if not size:
            break
    return b"".join(found)
