"""Puts the tunnel's resolvers back where another program names its own while the tunnel is up.

DHCP clients and network managers write /etc/resolv.conf whenever a lease is renewed. Rules:
- nothing is polled: the file, the links to it and what is mounted over it are watched;
- who writes is given `SETTLE` to finish. What it wrote is what the host gets back when the tunnel goes down
  (`host.resolver_file`), and it names the resolvers of the network outside from then on;
- two programs that both insist do not keep this machine busy: the pauses become longer, up to `LONGEST`, until there
  was `PEACE`;
- each thing is said once, until the tunnel's were in force again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from tunflow.errors import LocalError
from tunflow.host.file_watch import FileWatch
from tunflow.host.network.settings import HostDNS
from tunflow.host.resolvers import resolvers
from tunflow.host.resolvers.resolver_file import RESOLV_CONF

SETTLE = 0.1
FIRST = 0.5
"""The shortest pause between two times of putting back; the next is twice as long."""
LONGEST = 60.0
PEACE = 60.0
"""All in seconds."""


class ResolverWatch:
    """Calls `put_back` when the resolvers that `wanted` says are not the host's any more, until `close`.

    `wanted` is None while the host's resolvers are its own affair. `put_back` may raise LocalError.
    """

    def __init__(
        self,
        wanted: Callable[[], HostDNS | None],
        put_back: Callable[[], None],
        say: Callable[[str], None],
        path: Path = RESOLV_CONF,
    ) -> None:
        self._wanted = wanted
        self._put_back = put_back
        self._say = say
        self._path = path
        self._pause = FIRST
        self._last = -PEACE
        self._said: set[str] = set()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        """Watch no more."""
        self._task.cancel()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._changed()
            if loop.time() - self._last > PEACE:
                self._pause = FIRST
            await asyncio.sleep(max(SETTLE, self._last + self._pause - loop.time()))
            if not self._is_in_force():
                self._last, self._pause = loop.time(), min(LONGEST, self._pause * 2)
                self._insist()

    async def _changed(self) -> None:
        """Return once something has changed about the file, at once where it is not as wanted."""
        try:
            with FileWatch(self._path, changes=True) as watch:
                if self._is_in_force():
                    self._said.clear()
                    await watch.wait()
        except OSError as error:  # no watches left: fs.inotify.max_user_instances
            self._tell(f"{self._path} cannot be watched ({error.strerror}): it is looked at now and then")
            await asyncio.sleep(PEACE / 10)

    def _is_in_force(self) -> bool:
        dns = self._wanted()
        return dns is None or resolvers.is_in_force(dns, self._path)

    def _insist(self) -> None:
        self._tell(f"another program changed {self._path}: the tunnel's resolvers are put back")
        try:
            self._put_back()
        except LocalError as error:
            self._tell(f"the tunnel's resolvers cannot be put back: {error}")

    def _tell(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._say(line)
