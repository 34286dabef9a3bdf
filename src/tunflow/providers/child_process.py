"""Another program as a child process that a provider speaks with: typed to, read, waited for and ended.

Not asyncio's: that would start it with the signals blocked which `tunflow run` keeps for its own program.

Read first: posix_spawn(3), pidfd_open(2).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress

CHUNK = 65536


class ChildProcess:
    """Runs until `stop`, or until it ends. Called on one asyncio loop."""

    def __init__(self, argv: list[str], environment: Mapping[str, str], given: Mapping[int, int]) -> None:
        """Start `argv[0]`, a path. `given`: descriptors of ours by the numbers that it finds them at, 3 and up.

        It leads a session of its own, so a terminal's signals do not reach it. Raises OSError.
        """
        stdin, self._stdin = os.pipe()
        self._stdout, stdout = os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, stdin, 0)]
        actions += [(os.POSIX_SPAWN_DUP2, stdout, number) for number in (1, 2)]
        actions += [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in given.items()]
        try:
            self.pid = os.posix_spawn(
                argv[0],
                argv,
                environment,
                file_actions=actions,
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGINT, signal.SIGPIPE, signal.SIGCHLD, signal.SIGTERM),
            )
            self._pidfd = os.pidfd_open(self.pid)
        except OSError:
            os.close(self._stdin)
            os.close(self._stdout)
            raise
        finally:
            os.close(stdin)
            os.close(stdout)
        os.set_blocking(self._stdout, False)
        os.set_blocking(self._stdin, False)
        self._loop = asyncio.get_running_loop()
        self._readable = asyncio.Event()
        self._ended = asyncio.Event()
        self._loop.add_reader(self._stdout, self._readable.set)
        self._loop.add_reader(self._pidfd, self._reap)

    @property
    def is_over(self) -> bool:
        """True if it has ended."""
        return self._ended.is_set()

    def type(self, text: str) -> None:
        """Write to its standard input; lost when nobody reads there."""
        with suppress(OSError):
            os.write(self._stdin, text.encode())

    async def read(self) -> bytes:
        """Return what it prints next, on either output; b"" at the end."""
        while self._stdout >= 0:
            await self._readable.wait()
            try:
                data = os.read(self._stdout, CHUNK)
            except BlockingIOError:
                self._readable.clear()
                continue
            if not data:
                self._close_output()
            return data
        return b""

    async def wait(self) -> None:
        """Wait until it has ended."""
        await self._ended.wait()

    async def stop(self, patience: float) -> None:
        """Ask it to end by SIGINT; kill it after `patience` seconds. It has ended when this returns."""
        for number in (signal.SIGINT, signal.SIGKILL):
            if self.is_over:
                break
            signal.pidfd_send_signal(self._pidfd, number)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self.wait()
        self._close_output()

    def kill(self) -> None:
        """End it and what it started at once, and wait for nothing."""
        if not self.is_over:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._reap(0)
        self._close_output()

    def _reap(self, options: int = os.WNOHANG) -> None:
        self._loop.remove_reader(self._pidfd)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, options)
        os.close(self._pidfd)
        os.close(self._stdin)
        self._ended.set()

    def _close_output(self) -> None:
        fd, self._stdout = self._stdout, -1
        if fd >= 0:
            self._loop.remove_reader(fd)
            os.close(fd)
            self._readable.set()
