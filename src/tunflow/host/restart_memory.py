"""What a supervisor leaves behind for the one that a service manager starts in its place: how often that happened.

A supervisor that ends as it should forgets it. One that was killed has no say: that its file is still there is how the
next one knows.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tunflow.single_values import json_value

UNFORESEEN = "the supervisor ended unforeseen"
"""The cause where nobody could say another."""


@dataclass(frozen=True, slots=True)
class EarlierRestarts:
    """How often the tunnel was started again, the start of this supervisor included, and why the last time."""

    count: int = 0
    last_cause: str | None = None


class RestartMemory:
    """The file at `path`; one that cannot be written is forgotten, as is one that somebody damaged."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def recall(self) -> EarlierRestarts:
        """What the supervisor before left, if it left anything."""
        try:
            kept = json_value(self._path.read_bytes())
        except (OSError, ValueError):
            return EarlierRestarts()
        count, cause = (kept.get("restarts"), kept.get("ended_because")) if isinstance(kept, dict) else (None, None)
        if type(count) is not int or count < 0 or not (cause is None or isinstance(cause, str)):
            return EarlierRestarts()
        return EarlierRestarts(count + 1, cause or UNFORESEEN)

    def keep(self, count: int, ended_because: str | None = None) -> None:
        """The tunnel is up, `count` times started again so far; or it is not any more, because of that."""
        new = self._path.with_name(self._path.name + ".new")
        with suppress(OSError):
            new.write_text(json.dumps({"restarts": count, "ended_because": ended_because}))
            new.rename(self._path)

    def forget(self) -> None:
        """It is over, as somebody wanted: the next one is no restart."""
        with suppress(OSError):
            self._path.unlink()
