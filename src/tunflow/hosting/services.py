"""What every running provider may ask for: tasks, connections around the tunnel, dialers, the network's path."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from tunflow.endpoint import Endpoint
from tunflow.errors import RemoteError, TunflowError
from tunflow.hosting import outside
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import SocketOptions
from tunflow.outbound.chain import make_outbound
from tunflow.protocols.contract import Outbound
from tunflow.protocols.registry import parse_server
from tunflow.providers.blame import describe, where_waiting
from tunflow.providers.connections import TCPConnection, UDPSession
from tunflow.providers.network_path import NetworkPath
from tunflow.providers.provider import Provider

if TYPE_CHECKING:
    import ssl

GRACE = 1.0
"""Seconds that a cancelled call has to end; then it is left behind."""


class ProviderFailed(RemoteError):
    """The provider did not do its part; one line with its file and line."""


class Services:
    """Runs beside one provider. Its loop is a `ReactorLoop`."""

    def __init__(
        self, provider: Provider, reactor: Reactor, log: CauseLog, sockets: SocketOptions, path: NetworkPath
    ) -> None:
        self.provider = provider
        self.name = f"{type(provider).__module__}:{type(provider).__qualname__}"
        self.path = path
        self._reactor = reactor
        self._log = log
        self._sockets = sockets
        self._tasks: set[asyncio.Task[object]] = set()
        self._watchers: set[asyncio.Queue[NetworkPath]] = set()
        self._dialers: dict[tuple[str, ...], Outbound] = {}

    @property
    def is_ours(self) -> bool:
        """Return True for tunflow's own providers, which a user knows by their links and not by their classes."""
        return self.name.startswith("tunflow.providers.")

    def path_changed(self, path: NetworkPath) -> None:
        """The way to the network is another one."""
        if path == self.path:
            return
        self.path = path
        for queue in self._watchers:
            if queue.full():
                queue.get_nowait()  # only the last one counts
            queue.put_nowait(path)

    def paths(self) -> AsyncIterator[NetworkPath]:
        """Changes of the path from this call on, the last one if several came meanwhile."""
        queue: asyncio.Queue[NetworkPath] = asyncio.Queue(1)
        self._watchers.add(queue)
        return self._changes(queue)

    async def _changes(self, queue: asyncio.Queue[NetworkPath]) -> AsyncIterator[NetworkPath]:
        try:
            while True:
                yield await queue.get()
        finally:
            self._watchers.discard(queue)

    def display(self, message: str) -> None:
        """A line in the log."""
        line = " ".join(f"provider {self.name}: {message}".split())
        self._log.tell(line, line)

    def create_task(self, work: Coroutine[Any, Any, object], name: str) -> asyncio.Task[object]:
        """A task that ends with the provider."""
        task = asyncio.get_running_loop().create_task(self._contained(work, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def connect(
        self,
        remote: Endpoint,
        tls: ssl.SSLContext | None,
        server_name: str | None,
        through: bool,  # noqa: ARG002
    ) -> TCPConnection:
        """A stream around the tunnel."""
        return await outside.connect(remote, tls, server_name, self._sockets)

    async def open_udp(
        self,
        remote: Endpoint,
        local: Endpoint | None,
        through: bool,  # noqa: ARG002
    ) -> UDPSession:
        """A datagram session around the tunnel."""
        return await outside.open_udp(remote, local, self._sockets, self._reactor, self.handler_failed)

    async def dialer(self, links: Sequence[str]) -> Outbound:
        """A dialer, made once for the same links."""
        key = tuple(links)
        if key not in self._dialers:
            servers = [parse_server(link) for link in links]
            made = await asyncio.get_running_loop().run_in_executor(None, make_outbound, servers)
            self._dialers.setdefault(key, made)
        return self._dialers[key]

    def handler_failed(self, error: BaseException) -> None:
        """What a function raised that the provider gave for what arrives: its failure is told."""
        self.blame("read handler", error)
        traceback.clear_frames(error.__traceback__)

    def blame(self, what: str, error: BaseException) -> str:
        """Log the provider's failure; the line."""
        line = f"provider {self.name}: {what} failed: {describe(error)}"
        self._log.tell(line, line)
        return line

    # Inside.

    async def _call(self, method: str, patience: float, *arguments: object) -> Any:
        """Call one of the provider's methods. Raises ProviderFailed."""
        try:
            work = getattr(self.provider, method)(*arguments)
        except BaseException as error:
            raise self._failed(method, error) from error
        if not isinstance(work, Coroutine):
            raise ProviderFailed(f"provider {self.name}: {method} must be an `async def`")
        task = asyncio.ensure_future(_without_exit(work))
        try:
            done, _ = await asyncio.wait({task}, timeout=patience)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not done:
            place = where_waiting(work)
            task.cancel()
            await asyncio.wait({task}, timeout=GRACE)
            raise ProviderFailed(
                f"provider {self.name}: {method} has not returned in {patience:g} s"
                + (f"; it waits at {place}" if place else "")
            )
        try:
            return task.result()
        except asyncio.CancelledError:
            raise ProviderFailed(f"provider {self.name}: {method} was cancelled") from None
        except BaseException as error:
            raise self._failed(method, error) from error

    def _failed(self, method: str, error: BaseException) -> ProviderFailed:
        """What a user reads: of tunflow's own providers the error that they foresaw, of others where it came from."""
        if isinstance(error, TunflowError) and self.is_ours:
            return ProviderFailed(str(error))
        return ProviderFailed(f"provider {self.name}: {method} failed: {describe(error)}")

    async def _contained(self, work: Coroutine[Any, Any, object], name: str) -> object:
        """A task's work; its failure is told."""
        try:
            return await work
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.blame(name, error)
            traceback.clear_frames(error.__traceback__)
            return None

    async def _end_tasks(self) -> None:
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE)


async def _without_exit(work: Coroutine[Any, Any, Any]) -> Any:
    """What `work` gives. A provider's `sys.exit()` is its failure: it must not end the loop that it runs on."""
    try:
        return await work
    except SystemExit as error:
        raise RuntimeError(f"SystemExit: {error.code}").with_traceback(error.__traceback__) from error
