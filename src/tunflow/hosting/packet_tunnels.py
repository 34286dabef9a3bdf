"""Runs packet tunnels beside a driver, so that flows go through them: as a rule's target, in a group, in a chain.

Each is a provider with a session of its own, whose packets come from an inner stack instead of a device of the host's.
One that ends by itself, or does not start, is started again, after `SOONEST` to `LATEST` seconds; the same server
reached by the same hops is one tunnel, also after a reload.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tunflow.contained import Lost
from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import LocalError, RemoteError, TunflowError
from tunflow.host.memory import MemoryDevice, memory_pair
from tunflow.hosting.below import BelowConnection, BelowSession
from tunflow.hosting.session import PHYSICAL_MTU, HostServices, ProviderSession, own_addresses
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import SocketOptions
from tunflow.outbound.direct import DirectOutbound, FirstHop
from tunflow.outbound.inner_names import InnerNames
from tunflow.outbound.inner_stack import DeviceLink, InnerStack
from tunflow.outbound.packet_tunnel import PacketTunnelOutbound
from tunflow.protocols.contract import Outbound, PacketTunnel
from tunflow.providers.configuration import TunnelProviderProtocol
from tunflow.providers.connections import TCPConnection, UDPSession
from tunflow.providers.loader import load_provider
from tunflow.providers.network_path import NetworkPath
from tunflow.providers.packet_tunnel import PacketTunnelProvider
from tunflow.providers.provider import Provider
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.providers.tunnel_settings import PacketTunnelNetworkSettings, TunnelNetworkSettings
from tunflow.single_values import json_value

SOONEST = 1.0
LATEST = 30.0
MTU_IN_A_CHAIN = 1280
"""Of a tunnel below which are other servers, whose headers come on top: what IPv6 demands (RFC 8200 §5)."""

Failure = LocalError | RemoteError
"""Why a tunnel does not start."""
Key = tuple[str, str, str]
"""What tells a tunnel from others: its provider, the configuration, and what is below."""


class PacketTunnels:
    """As `contract.Tunnels`. What it opened runs once `start` was called, within a loop on the reactor."""

    def __init__(self) -> None:
        self._running: dict[Key, _Tunnel] = {}
        self._named: set[Key] = set()
        """Those of the plan that is in force."""
        self._leaving: dict[Key, asyncio.Task[None]] = {}
        """Those of the others that something still goes through, each with who waits for its end."""
        self._ending: set[asyncio.Task[None]] = set()
        self._start: Callable[[_Tunnel], None] | None = None

    def open(self, server: PacketTunnel, below: Outbound) -> Outbound:
        """As `contract.Tunnels.open`. Raises LocalError where there is no such provider."""
        secret = json.dumps(server.provider_configuration, sort_keys=True, default=str)
        key = (server.provider, secret, below.label)
        tunnel = self._running.get(key)
        if tunnel is None:
            tunnel = self._running[key] = _Tunnel(server, below)
            if self._start is not None:
                self._start(tunnel)
        self._named.add(key)
        if (leaving := self._leaving.pop(key, None)) is not None:
            leaving.cancel()
        return tunnel.outbound

    @contextmanager
    def another_plan(self) -> Iterator[None]:
        """What is opened within is what another plan names. Afterwards those end that it does not name, once nothing
        goes through them; or those that it opened, where that raised. Called within the loop, after `start`."""
        before, self._named = self._named, set()
        try:
            yield
        except BaseException:
            wrong, self._named = self._named - before, before
            self._let_go(wrong)
            raise
        self._let_go(before - self._named)

    def _let_go(self, keys: set[Key]) -> None:
        for key in keys:
            task = self._leaving[key] = asyncio.get_running_loop().create_task(self._leave(key))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _leave(self, key: Key) -> None:
        while self._running[key].is_used:
            await asyncio.sleep(SOONEST)
        del self._leaving[key]
        await self._running.pop(key).stop(ProviderStopReason.SUPERSEDED)

    def first_start(self) -> asyncio.Future[list[Failure | None]]:
        """Return what is done once each of those that were opened has started, or not, which is told nowhere else then.

        Called within the loop, before `start`.
        """
        return asyncio.gather(*(tunnel.first_start() for tunnel in self._running.values()))

    def start(
        self,
        reactor: Reactor,
        say: Callable[[str], None],
        sockets: SocketOptions,
        on_trouble: Callable[[], None] = lambda: None,
    ) -> None:
        """Run them; called within the loop. `on_trouble` hears that `troubles` or `all_stand` changed."""
        log = CauseLog(say, lambda: reactor.now)
        self._start = lambda tunnel: tunnel.start(reactor, log, sockets, on_trouble)
        for tunnel in self._running.values():
            self._start(tunnel)

    async def stop(self, reason: ProviderStopReason) -> None:
        """End them all."""
        for leaving in self._leaving.values():
            leaving.cancel()
        running, self._running, self._start = self._running, {}, None
        await asyncio.gather(*(tunnel.stop(reason) for tunnel in running.values()))
        await asyncio.gather(*self._ending, return_exceptions=True)
        self._leaving.clear()

    def path_changed(self, path: NetworkPath) -> None:
        """The way to the network is another one."""
        for tunnel in self._running.values():
            tunnel.path_changed(path)

    async def facts(self) -> list[dict[str, Any]]:
        """The tunnels for `status --json`: label, status, bytes, and what each says of itself."""
        return [await tunnel.facts() for tunnel in self._running.values()]

    def troubles(self) -> list[tuple[str, str, float]]:
        """What does not work in them now: the label, a line, and since when, in seconds since 1970."""
        found = ((tunnel.outbound.label, tunnel.trouble) for tunnel in self._running.values())
        return [(label, *trouble) for label, trouble in found if trouble is not None]

    @property
    def all_stand(self) -> bool:
        """Return True if none of them has a trouble, or is still to start."""
        return all(tunnel.stands for tunnel in self._running.values())


class _Tunnel:
    """One tunnel, started again whenever it ends."""

    def __init__(self, server: PacketTunnel, below: Outbound) -> None:
        """Raises LocalError."""
        self.outbound = PacketTunnelOutbound(server.label, below)
        self._server = server
        self._below = below
        found = load_provider(server.provider, where=server.label, kind=PacketTunnelProvider)
        assert issubclass(found, PacketTunnelProvider)
        found.require_programs()
        self._class = found
        self._session: _Session | None = None
        self._task: asyncio.Task[None] | None = None
        self._on_trouble: Callable[[], None] = lambda: None
        self._path = NetworkPath()
        self._moved = asyncio.Event()
        """Set when there is another path."""
        self._failure: tuple[str, float] | None = None
        """Why it does not stand, and since when."""
        self._first: asyncio.Future[Failure | None] | None = None
        """Where somebody waits for its first start."""

    @property
    def trouble(self) -> tuple[str, float] | None:
        """Why it does not stand, or what its provider says, and since when."""
        session = self._session
        if self._failure is not None or session is None or session.trouble is None:
            return self._failure
        return session.trouble, session.troubled_since

    @property
    def stands(self) -> bool:
        """Return True once flows can go through it, while nothing troubles it."""
        return self.outbound.inner is not None and self.trouble is None

    @property
    def is_used(self) -> bool:
        """Return True while flows go through it."""
        return self.outbound.inner is not None and self.outbound.inner.is_used

    def first_start(self) -> asyncio.Future[Failure | None]:
        """As `PacketTunnels.first_start`."""
        self._first = asyncio.get_running_loop().create_future()
        return self._first

    def start(self, reactor: Reactor, log: CauseLog, sockets: SocketOptions, on_trouble: Callable[[], None]) -> None:
        """Run it from now on."""
        if self._task is None:
            self.outbound.reactor = reactor
            self._on_trouble = on_trouble
            self._task = asyncio.get_running_loop().create_task(self._live(reactor, log, sockets))
            on_trouble()

    async def stop(self, reason: ProviderStopReason) -> None:
        """End it."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if self._session is not None:
            await self._session.stop(reason)
            self._session.close()
        self.outbound.fell()

    def path_changed(self, path: NetworkPath) -> None:
        """As `PacketTunnels.path_changed`."""
        self._path = path
        self._moved.set()
        if self._session is not None:
            self._session.path_changed(path)

    async def facts(self) -> dict[str, Any]:
        """As `PacketTunnels.facts`."""
        session = self._session
        found: dict[str, Any] = {"label": self.outbound.label, "status": "disconnected", "bytes_in": 0, "bytes_out": 0}
        if session is None:
            return found
        statistics = session.statistics
        # Seen from the tunnel, as the device of a whole machine's is.
        found |= {"status": session.status.name.lower(), "bytes_in": statistics["bytes_in"]}
        found["bytes_out"] = statistics["bytes_out"]
        with suppress(TunflowError, ValueError):
            answer = await session.send_message(b"status")
            if answer is not None:
                found["tunnel"] = json_value(answer)
        return found

    async def _live(self, reactor: Reactor, log: CauseLog, sockets: SocketOptions) -> None:
        pause, label = SOONEST, self._server.label
        while True:
            began = reactor.now
            self._moved.clear()
            try:
                why = await self._run(reactor, log, sockets)
            except (TunflowError, OSError) as error:
                why = str(error) if str(error).startswith(label) else f"{label}: {error}"
                kind = LocalError if isinstance(error, LocalError) else RemoteError
                if not self._tell_waiter(kind(why)):
                    log.tell(str(error), why)
            except Exception as error:
                reactor.contain(error, Lost(f"the tunnel {label}"))
                why = f"{label}: internal error"
                self._tell_waiter(RemoteError(why))
            self._failure = why, time.time() if self._failure is None else self._failure[1]
            self._on_trouble()
            self.outbound.fell()
            pause = SOONEST if reactor.now - began > LATEST else min(LATEST, pause * 2)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._moved.wait()  # there it may be reached at once, though an attempt from before failed

    def _tell_waiter(self, failure: Failure | None) -> bool:
        """Return True if somebody waited for this start, who is told now how it went."""
        first, self._first = self._first, None
        if first is None or first.done():
            return False
        first.set_result(failure)
        return True

    async def _run(self, reactor: Reactor, log: CauseLog, sockets: SocketOptions) -> str:
        """From its start to its end; why it ended. Raises TunflowError, OSError."""
        ended: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        surroundings = self._surroundings(reactor, log, sockets)
        session = _Session(self._class(), surroundings, self._below, self._server, ended, self._on_trouble)
        self._session = session
        session.stands = self.outbound.stands
        try:
            await session.start(None)
            session.serve()
            self._failure = None
            self._tell_waiter(None)
            self._on_trouble()
            return await ended or f"{self._server.label}: the tunnel ended"
        finally:
            session.close()

    def _surroundings(self, reactor: Reactor, log: CauseLog, sockets: SocketOptions) -> HostServices:
        async def apply(settings: TunnelNetworkSettings | None) -> None:
            if self._session is not None:
                self._session.apply(settings)

        configuration = TunnelProviderProtocol(provider_configuration=self._server.provider_configuration)
        return HostServices(reactor, log, apply, configuration, self._path, sockets)


class _Session(ProviderSession):
    """A provider whose packets come from an inner stack, and whose own connections leave by the hop below."""

    def __init__(
        self,
        provider: Provider,
        surroundings: HostServices,
        below: Outbound,
        server: PacketTunnel,
        ended: asyncio.Future[str | None],
        on_trouble: Callable[[], None],
    ) -> None:
        super().__init__(
            provider,
            surroundings,
            on_trouble=on_trouble,
            on_end=lambda why: None if ended.done() else ended.set_result(why),
        )
        self._world = surroundings
        self._below = below
        self._is_first = isinstance(below, FirstHop | DirectOutbound)
        self._server = server
        self.stands: Callable[[InnerStack, InnerNames], None] = lambda _inner, _names: None
        self._ends: tuple[MemoryDevice, MemoryDevice] | None = None
        self._inner: InnerStack | None = None
        self._names: InnerNames | None = None

    def apply(self, settings: TunnelNetworkSettings | None) -> None:
        """The tunnel's addresses and resolvers. Raises LocalError."""
        if not isinstance(settings, PacketTunnelNetworkSettings):
            return
        if self._ends is None:
            mtu = settings.mtu_on(PHYSICAL_MTU)
            self._ends = memory_pair(mtu if self._is_first else min(mtu, MTU_IN_A_CHAIN))
        addresses = own_addresses(settings)
        if self._inner is None or self._inner.addresses != frozenset(addresses):
            if self._inner is not None:
                self._inner.close()
            reactor = self._world.reactor
            self._inner = InnerStack(reactor, DeviceLink(reactor, self._ends[1]), addresses)
        dns = settings.dns_settings
        resolvers = () if dns is None else [address.packed for address in dns.servers]
        self._names = InnerNames(self._inner, resolvers, os.urandom)
        if self.serves_flows:
            self.stands(self._inner, self._names)

    def inner_stack(self) -> InnerStack:
        """The one that carries flows, too. Raises OSError."""
        if self._inner is None:
            return super().inner_stack()
        return self._inner

    def serve(self) -> None:
        """The provider started: flows may come. Raises LocalError."""
        if self._ends is None or self._inner is None or self._names is None:
            raise LocalError(f"provider {self.name}: start_tunnel set no network settings")
        self.attach_device(self._ends[0])
        self.stands(self._inner, self._names)

    def close(self) -> None:
        """Give the device back."""
        if self._inner is not None:
            self._inner.close()
            self._inner = None
        ends, self._ends = self._ends, None
        if ends is not None:
            for end in ends:
                end.close()

    async def connect(
        self, remote: Endpoint, tls: ssl.SSLContext | None, server_name: str | None, through: bool
    ) -> TCPConnection:
        """A stream, by the hop below."""
        if through or self._is_first:
            return await super().connect(self._found(remote), tls, server_name, through)
        if tls is not None:
            raise OSError(f"{self._server.label}: TLS of a provider's own does not go through another server")
        return await BelowConnection.open(self._world.reactor, self._below, remote, self._world.sockets)

    async def open_udp(self, remote: Endpoint, local: Endpoint | None, through: bool) -> UDPSession:
        """A datagram session, by the hop below."""
        if through or self._is_first:
            return await super().open_udp(self._found(remote), local, through)
        return await BelowSession.open(
            self._world.reactor, self._below, remote, self._world.sockets, self.handler_failed
        )

    def _found(self, remote: Endpoint) -> Endpoint:
        """Where a server is that was looked up already."""
        if isinstance(remote.host, str) and isinstance(self._below, FirstHop) and self._below.server is not None:
            hop = self._server.first_hop
            if hop is not None and hop[0] == remote.host:
                return endpoint(self._below.server.in_order[0].sockaddr[0], remote.port)
        return remote
