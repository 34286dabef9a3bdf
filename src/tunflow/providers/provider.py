"""The base of all providers: NEProvider and NETunnelProvider.

A provider is a class of yours with a few `async` methods. tunflow makes one object of it, calls it on one asyncio loop
in one thread, and contains it: what it raises ends its tunnel or its flow, with a message that names its file and
line, and a call that does not return is interrupted. `__init__` needs no arguments and no `super().__init__()`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from typing import TYPE_CHECKING, Any

from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import LocalError
from tunflow.providers.configuration import TunnelProviderProtocol
from tunflow.providers.connections import TCPConnection, UDPSession
from tunflow.providers.dialers import FlowDialer
from tunflow.providers.host import ProviderHost
from tunflow.providers.network_path import NetworkPath
from tunflow.providers.tunnel_settings import TunnelNetworkSettings

if TYPE_CHECKING:
    import asyncio
    import ssl


class Provider:
    """NEProvider."""

    _provider_host: ProviderHost | None = None

    def bind(self, host: ProviderHost) -> None:
        """For whoever runs this: reach the system through `host` from now on."""
        self._provider_host = host

    @property
    def _host(self) -> ProviderHost:
        if self._provider_host is None:
            raise LocalError(f"{type(self).__name__} is not running: tunflow starts it, then this can be used")
        return self._provider_host

    async def sleep(self) -> None:
        """The system is about to sleep; it waits for this to return, for a few seconds at most."""

    def wake(self) -> None:
        """The system has just woken up."""

    @property
    def default_path(self) -> NetworkPath:
        """How the machine reaches the network now."""
        return self._host.path

    def default_path_changes(self) -> AsyncIterator[NetworkPath]:
        """Every change of `default_path` from now on: `async for path in self.default_path_changes()`."""
        return self._host.paths()

    async def create_tcp_connection(
        self,
        host: str | Endpoint,
        port: int = 0,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> TCPConnection:
        """Connect to a host and port outside the tunnel: this traffic is never captured. Raises OSError.

        With `tls` it is a TLS connection; `server_name` is what its certificate must be for (default: the host).
        """
        return await self._host.connect(_remote(host, port), tls, server_name, through=False)

    async def create_udp_session(
        self, host: str | Endpoint, port: int = 0, *, local: Endpoint | None = None
    ) -> UDPSession:
        """A UDP session with a host and port outside the tunnel. Raises OSError."""
        return await self._host.open_udp(_remote(host, port), local, through=False)

    async def dialer(self, *links: str) -> FlowDialer:
        """tunflow's own way out by its links (`ss://…`, `socks5://…`, `direct://`), a chain if several.

        Flows given to it (`flow.carry(dialer)`) move at the speed of the built-in proxies. Raises LocalError.
        """
        return await self._host.dialer(links)

    def display_message(self, message: str) -> None:
        """Tell the user something, in the log of the tunnel; the same words once a minute at most."""
        self._host.display(message)

    def create_task(self, work: Coroutine[Any, Any, object], *, name: str | None = None) -> asyncio.Task[object]:
        """Run a coroutine beside the provider; it is cancelled when the provider stops.

        What it raises is told with file and line. The task of a packet tunnel that raises ends the tunnel; that of a
        proxy only its flow.
        """
        return self._host.create_task(work, name or str(getattr(work, "__name__", "task")))


class TunnelProvider(Provider):
    """NETunnelProvider."""

    async def handle_app_message(self, data: bytes) -> bytes | None:  # noqa: ARG002
        """A message of `VPNConnection.send_message`; what is returned is the answer, None for none."""
        return None

    async def set_tunnel_network_settings(self, settings: TunnelNetworkSettings | None) -> None:
        """Have the system route, resolve and address as `settings` say; None takes everything back.

        May be called any number of times; the new settings replace the old ones. Raises TunnelProviderError.
        """
        await self._host.apply_settings(settings)

    @property
    def protocol_configuration(self) -> TunnelProviderProtocol:
        """What the profile says for this provider."""
        return self._host.configuration

    @property
    def reasserting(self) -> bool:
        """True if the tunnel is being set up again after it was up; has an effect only while it is connected."""
        return self._host.reasserting

    @reasserting.setter
    def reasserting(self, value: bool) -> None:
        self._host.set_reasserting(value)

    @property
    def trouble(self) -> str | None:
        """What does not work now, in a line for `tunflow status`; None when all does."""
        return self._host.trouble

    @trouble.setter
    def trouble(self, line: str | None) -> None:
        self._host.set_trouble(line)


def _remote(host: str | Endpoint, port: int) -> Endpoint:
    return host if isinstance(host, Endpoint) else endpoint(host, port)
