"""A pseudo-terminal with a program in front of it, for the tests of job control."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import time
from collections.abc import Sequence

_PATIENCE = 15.0


class Terminal:
    """Runs `argv` as the leader of a new session on a new terminal."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            os.environ["PS1"] = "prompt> "
            os.execvp(argv[0], list(argv))
        self._seen = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, pattern: str) -> re.Match[str]:
        """What matches `pattern` first in what is printed from the end of the last match on."""
        deadline = time.monotonic() + _PATIENCE
        while not (match := re.search(pattern, self._seen)):
            left = deadline - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self._seen!r}"
            if select.select([self._master], [], [], left)[0]:
                try:
                    self._seen += os.read(self._master, 4096).decode()
                except OSError:  # EIO: nobody has the other end any more
                    raise AssertionError(f"the terminal is closed; no {pattern!r} in {self._seen!r}") from None
        self._seen = self._seen[match.end() :]
        return match

    def status(self) -> int:
        """How the leader ended, as a wait status."""
        deadline = time.monotonic() + _PATIENCE
        ended = os.pidfd_open(self.pid)
        waited_on = {ended} if self._master < 0 else {ended, self._master}
        try:
            while ended not in (ready := select.select(waited_on, [], [], deadline - time.monotonic())[0]):
                assert ready, f"still running; printed {self._seen!r}"
                try:
                    self._seen += os.read(self._master, 4096).decode()
                except OSError:  # EIO: the leader is about to end
                    waited_on.discard(self._master)
        finally:
            os.close(ended)
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return status

    def hang_up(self) -> None:
        """Close the terminal, as a closed window does."""
        os.close(self._master)
        self._master = -1

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self._master >= 0:
            os.close(self._master)
