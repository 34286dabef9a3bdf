"""Keeps the map of fake addresses in a file, so that clients that hold one reach its name after a restart, or a crash.

The file is written anew when it is opened and when it has become much longer than the map; in between each new line is
appended at the end of the round in which its address was given out (`dns.fake_ip` has the format). It holds names that
were asked for, so only its owner may read it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tunflow.dns.fake_ip import FakeIPMap
from tunflow.errors import LocalError
from tunflow.loop.reactor import Reactor

LARGEST = 64 << 20
"""Bytes; a file of that size is not ours."""


class FakeIPFile:
    """The file of a map. Raises LocalError when it cannot be read or written; later failures are told to `failed`."""

    def __init__(self, path: str, fake: FakeIPMap, reactor: Reactor, failed: Callable[[str], None]) -> None:
        self._path = Path(path)
        self._fake = fake
        self._failed = failed
        self._lines = 0
        self._fd = -1
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                if self._path.stat().st_size > LARGEST:
                    raise LocalError(f"{path}: too large to be a map of fake addresses")
                fake.load(self._path.read_text(errors="replace").splitlines())
            self._rewrite()
        except OSError as error:
            raise LocalError(f"cannot keep fake addresses in {path}: {error.strerror}") from error
        reactor.at_round_end(self.flush)

    def flush(self) -> None:
        """Write what is new."""
        fake = self._fake
        if not fake.journal:
            return
        lines, fake.journal = fake.journal, []
        try:
            self._lines += len(lines)
            if self._lines > 4 * fake.capacity:
                self._rewrite()
            else:
                os.write(self._fd, "".join(f"{line}\n" for line in lines).encode())
        except OSError as error:
            self._failed(f"fake addresses are not kept in {self._path}: {error.strerror}")
            self.close()

    def close(self) -> None:
        """Write what is new, and in the order of use."""
        if self._fd >= 0:
            with suppress(OSError):
                self._rewrite()
            os.close(self._fd)
            self._fd = -1
        self._fake.journal = None

    def _rewrite(self) -> None:
        """The whole map in a fresh file, put in place at once. Raises OSError."""
        fresh = self._path.with_name(self._path.name + ".new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(os.dup(fd), "w") as out:
                out.writelines(f"{line}\n" for line in self._fake.lines())
            fresh.replace(self._path)
        except OSError:
            os.close(fd)
            raise
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        self._lines = len(self._fake)
        self._fake.journal = []
