"""What a filter did, as JSON lines in a file, with no more about anybody than the profile's `privacy` allows.

| privacy | what a line tells |
|---|---|
| `none` | nothing: there is no log |
| `counts` | how many flows passed and were blocked, by list, once a minute |
| `domains` | also each blocked host, its list and line, and hosts named towards addresses that they do not have |
| `full` | also what passed, whole URLs, programs and clients, and the bytes of each flow that has ended |
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from tunflow.errors import LocalError
from tunflow.filter.judge import PASSES, Cause, Ruling
from tunflow.host.rights.open_file import LARGEST_LOG, OpenFile, open_file
from tunflow.providers.filter_flow import FilterFlow, FilterReport

_CONTROL = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
LEVELS = ("none", "counts", "domains", "full")

RECENT = 200
"""Lines about what was blocked or forged that are kept, for who looks at them while the filter runs."""


class FilterLog:
    """Writes rulings; `clock` gives the time with its zone.

    A file that cannot be written is told of once, and tried again at each `flush`. A line in it says what is missing.
    """

    def __init__(
        self,
        path: Path,
        level: str,
        clock: Callable[[], datetime],
        tell: Callable[[str], None],
        opens: OpenFile = open_file,
    ) -> None:
        """Raises LocalError when the file cannot be opened."""
        self.path = path
        self._level = LEVELS.index(level)
        self._clock = clock
        self._tell = tell
        self._opens = opens
        self._counts: Counter[str] = Counter()
        self._passed = 0
        """Those that passed, of which no line is written: they are most."""
        self.recent: deque[Mapping[str, Any]] = deque(maxlen=RECENT)
        """The latest lines about what was blocked or forged, as they are in the file; the last is the newest."""
        self._is_broken = False
        """True if the file could not be written, and cannot yet."""
        self._missing = 0
        """Lines that were to be written meanwhile."""
        self._file = self._open() if self._level else None

    def record(self, flow: FilterFlow, ruling: Ruling, what: str | None) -> None:
        """One ruling."""
        is_blocked, is_forged = ruling.blocked, ruling.cause is Cause.FORGED
        if not is_blocked and not is_forged and self._level < 3:
            self._passed += 1
            return
        self._counts["blocked" if is_blocked else "passed"] += 1
        if is_blocked and ruling.list is not None:
            self._counts[f"list {ruling.list}"] += 1
        if is_forged:
            self._counts["forged"] += 1
        if self._level >= 2 and (is_blocked or is_forged or self._level == 3):
            line = self._write(self._line(flow, ruling, what))
            if is_blocked or is_forged:
                self.recent.append(line)

    @property
    def privacy(self) -> str:
        """How much it tells."""
        return LEVELS[self._level]

    def go_on_from(self, before: FilterLog) -> None:
        """Keep what another kept that told as much."""
        if before.privacy == self.privacy:
            self.recent.extend(before.recent)

    @property
    def tells_ends(self) -> bool:
        """True if it wants to hear of flows that have ended."""
        return self._level == 3

    def ended(self, report: FilterReport) -> None:
        """A flow that had passed is over."""
        flow = report.flow
        line = self._line(flow, PASSES, flow.url or flow.remote_hostname)
        del line["why"]
        counts = {"bytes_in": report.bytes_inbound_count, "bytes_out": report.bytes_outbound_count}
        self._write(line | {"event": "ended"} | counts)

    def flush(self) -> None:
        """Write the counts so far, if there are any, and go on with a file that can be written again."""
        if self._passed:
            self._counts["passed"] += self._passed
            self._passed = 0
        if self._is_broken:
            self._go_on()
        if self._counts and not self._is_broken:
            self._write({"event": "counts", **dict(self._counts)})
            if self._is_broken:
                self._missing = 0  # counts wait: they are not missing
            else:
                self._counts.clear()

    def close(self) -> None:
        """Write what is left."""
        self.flush()
        self._drop()

    def _line(self, flow: FilterFlow, ruling: Ruling, what: str | None) -> dict[str, Any]:
        host = flow.remote_hostname
        if what is not None:
            host = what.partition("://")[2].partition("/")[0] if "://" in what else what
        line: dict[str, Any] = {
            "event": "blocked" if ruling.blocked else "forged" if ruling.is_forged else "passed",
            "host": host or flow.remote_endpoint.host_text,
            "why": ruling.why,
        }
        if ruling.list is not None:
            line |= {"list": ruling.list, "line": ruling.line, "category": ruling.category}
        if self._level == 3:
            process = flow.process
            line |= {
                "url": what,
                "target": str(flow.remote_endpoint),
                "client": flow.local_endpoint.host_text,
                "program": process.executable or process.name if process is not None else None,
                "uid": process.uid if process is not None else None,
            }
            device = flow.source_hardware_address
            if device:
                line["device"] = device.hex(":")
        return line

    def _write(self, facts: Mapping[str, Any]) -> Mapping[str, Any]:
        """The line, with its time."""
        facts = {"time": self._clock().isoformat(timespec="milliseconds"), **facts}
        if self._is_broken:
            self._missing += 1
        elif self._file is not None:
            try:
                self._put(facts)
            except (OSError, LocalError) as error:
                self._is_broken, self._missing = True, 1
                self._drop()
                self._tell(f"filter: the log {self.path} cannot be written: {error}; tried again every minute")
        return facts

    def _go_on(self) -> None:
        """With an empty line first: what was written last may be half a line."""
        try:
            self._file = self._open()
            self._file.write("\n")
            facts = {"time": self._clock().isoformat(timespec="milliseconds"), "event": "gap", "missing": self._missing}
            self._put(facts)
        except (OSError, LocalError):
            self._drop()
            return
        self._tell(f"filter: the log {self.path} goes on; lines missing: {self._missing:,}")
        self._is_broken, self._missing = False, 0

    def _drop(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # what it could not write, it tries again
                file.close()

    def _put(self, facts: Mapping[str, Any]) -> None:
        """Write a line, in a new file where the old one is full. Raises OSError, LocalError."""
        assert self._file is not None
        if self._file.tell() > LARGEST_LOG:
            self._file.close()
            self._file = self._open()
        line = json.dumps(facts, ensure_ascii=False)
        if not line.isascii():
            line = _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", line)  # people read it on terminals
        self._file.write(line + "\n")
        self._file.flush()

    def _open(self) -> IO[str]:
        try:
            return os.fdopen(self._opens(self.path, True), "a", encoding="utf-8")
        except OSError as error:
            raise LocalError(f"filter.log: cannot write {self.path}: {error.strerror}") from None
        except LocalError as error:
            raise LocalError(f"filter.log: {error}") from None
