"""One log line for each cause, however often it happens.

Rules: the first line of a cause is written at once; repeats within a minute are counted and the count is
told with the next line; the causes remembered are bounded, so a hostile peer can neither flood the log nor
grow memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

QUIET_SECONDS = 60.0
"""How long a cause stays quiet after its line."""

CAUSES_REMEMBERED = 512


class CauseLog:
    """Writes lines to `write`; `clock` gives seconds on a monotonic scale."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._write = write
        self._clock = clock
        self._causes: OrderedDict[str, tuple[float, int]] = OrderedDict()

    @property
    def remembered(self) -> int:
        """How many causes are known to have been told."""
        return len(self._causes)

    def tell(self, cause: str, line: str) -> None:
        """Write `line` unless a line of the same `cause` stood there within the last minute."""
        now = self._clock()
        written, repeats = self._causes.get(cause, (float("-inf"), 0))
        if now - written < QUIET_SECONDS:
            self._causes[cause] = (written, repeats + 1)
            return
        self._write(f"{line} (and {repeats} more since the last such line)" if repeats else line)
        self._causes[cause] = (now, 0)
        self._causes.move_to_end(cause)
        if len(self._causes) > CAUSES_REMEMBERED:
            self._causes.popitem(last=False)
