"""Programs that log in to networks: NEHotspotHelper. They are asked about each Wi-Fi network that this machine joins.

    async def handle(command):
        if command.command_type is HotspotHelperCommandType.EVALUATE and command.network.ssid == "Hotel":
            command.network.set_confidence(HotspotHelperConfidence.HIGH)
            response = command.create_response(HotspotHelperResult.SUCCESS)
            response.set_network(command.network)
        …
        return response

    HotspotHelper.register("hotel", handle)
    asyncio.run(HotspotHelper.run())

Which command follows which is the table of `providers.hotspot_states`. A helper that raises, or answers with nothing,
has failed at that command. Its connections are bound to the Wi-Fi's interface and go past the tunnel, as far as
`tunflow portal` does.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from tunflow.control.client import NotRunning, Refused, ask
from tunflow.errors import RemoteError
from tunflow.host.resolvers.outer_resolvers import OuterResolvers
from tunflow.host.runtime import RuntimeDirectory
from tunflow.host.wifi.backend import WifiBackend, interfaces
from tunflow.host.wifi.found import find_wifi
from tunflow.loop.sockets import SocketOptions
from tunflow.outbound.dial_asyncio import dial
from tunflow.protocols.server_addresses import interleaved
from tunflow.providers.hotspot_network import HotspotHelperConfidence, HotspotNetwork
from tunflow.providers.hotspot_states import (
    HotspotEvent,
    HotspotHelperCommandType,
    HotspotHelperResult,
    HotspotState,
    after,
    event_of,
)
from tunflow.tunnel.server_names import ServerNames

EVERY = 2.0
"""Seconds between two looks at the Wi-Fi."""
PERIOD = 300.0
"""Seconds after which a network is looked at again (MAINTAIN)."""
PATIENCE = 60.0
"""Seconds for a helper to answer, but for PRESENT_UI, which waits for somebody."""
_C = HotspotHelperCommandType


@dataclass(slots=True)
class HotspotHelperResponse:
    """What a helper answers; NEHotspotHelperResponse."""

    result: HotspotHelperResult
    network: HotspotNetwork | None = None
    network_list: Sequence[HotspotNetwork] = ()

    def set_network(self, network: HotspotNetwork) -> None:
        """The network with the helper's confidence, for EVALUATE."""
        self.network = network

    def set_network_list(self, networks: Sequence[HotspotNetwork]) -> None:
        """The networks that are the helper's, for FILTER_SCAN_LIST."""
        self.network_list = networks


@dataclass(frozen=True, slots=True)
class HotspotHelperCommand:
    """What a helper is asked; NEHotspotHelperCommand."""

    command_type: HotspotHelperCommandType
    network: HotspotNetwork | None
    """None with FILTER_SCAN_LIST."""
    network_list: Sequence[HotspotNetwork] = ()
    """With FILTER_SCAN_LIST only."""
    sockets: SocketOptions = field(default_factory=SocketOptions)

    def create_response(self, result: HotspotHelperResult) -> HotspotHelperResponse:
        """An answer to return from the handler."""
        return HotspotHelperResponse(result)

    async def create_tcp_connection(
        self, host: str, port: int, *, tls: bool = False
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection by the Wi-Fi's interface; names are asked for at the network's resolver. Raises RemoteError."""
        names = ServerNames(self.sockets, OuterResolvers(()).find)
        try:
            sock = await dial(interleaved(await names.within(host, port)), self.sockets, PATIENCE)
            context = ssl.create_default_context() if tls else None
            return await asyncio.open_connection(sock=sock, ssl=context, server_hostname=host if tls else None)
        except OSError as error:
            raise RemoteError(f"{host} port {port}: {error.strerror or error}") from error


Handler = Callable[[HotspotHelperCommand], Awaitable[HotspotHelperResponse | None]]


class HotspotSession:
    """One Wi-Fi's networks and the helpers that are asked about them. `say` is told what happens."""

    def __init__(self, helpers: Mapping[str, Handler], sockets: SocketOptions, say: Callable[[str], None]) -> None:
        self.state = HotspotState.IDLE
        self.network: HotspotNetwork | None = None
        self.chosen: str | None = None
        """The name of the helper that took the network."""
        self._helpers = dict(helpers)
        self._sockets = sockets
        self._say = say
        self._refused: set[str] = set()

    async def joined(self, network: HotspotNetwork) -> None:
        """This machine is on that network now, or on it again. Returns once all that follows was done."""
        is_another = self.network is None or self.network.ssid != network.ssid
        if is_another:
            await self.left()
            self._refused.clear()
        self.network = replace(network, did_just_join=is_another, is_chosen_helper=self.chosen is not None)
        await self._happen(HotspotEvent.JOINED)

    async def left(self) -> None:
        """This machine is on no network."""
        await self._happen(HotspotEvent.LEFT)
        self.network = self.chosen = None

    async def period(self) -> None:
        """It is time to look again."""
        await self._happen(HotspotEvent.PERIOD)

    async def logoff(self) -> None:
        """Have the chosen helper log off."""
        if self.chosen is not None:
            await self._ask(self.chosen, _C.LOGOFF)

    async def filter_scan_list(self, networks: Sequence[HotspotNetwork]) -> list[HotspotNetwork]:
        """The networks that some helper says are its own, with what it says of them."""
        own: list[HotspotNetwork] = []
        for name in self._helpers:
            copies = [replace(each) for each in networks]
            response = await self._ask(name, _C.FILTER_SCAN_LIST, copies)
            if response is not None and response.result is HotspotHelperResult.SUCCESS:
                own += [each for each in response.network_list if each.confidence >= HotspotHelperConfidence.LOW]
        return own

    async def _happen(self, event: HotspotEvent) -> None:
        following: HotspotEvent | None = event
        while following is not None:
            before = self.state
            self.state, command = after(before, following)
            if self.state is not before and self.network is not None:
                self._say(f"{self.network.ssid}: {self.state.value}")
            following = await self._give(command)

    async def _give(self, command: HotspotHelperCommandType) -> HotspotEvent | None:
        """Give a command, and what comes of it; None where nothing is to be done."""
        if command is _C.NONE:
            return None
        if command is _C.EVALUATE:
            return await self._evaluate()
        if self.chosen is None:  # nobody's network is maintained by itself
            return HotspotEvent.SUCCESS
        response = await self._ask(self.chosen, command)
        event = HotspotEvent.FAILURE if response is None else event_of(command, response.result)
        if event is HotspotEvent.UNSUPPORTED:
            self._refused.add(self.chosen)
            self.chosen = None
        return event

    async def _evaluate(self) -> HotspotEvent:
        """The highest confidence wins, and the first that is high at once."""
        best = HotspotHelperConfidence.NONE
        self.chosen = None
        for name in self._helpers:
            if name in self._refused:
                continue
            response = await self._ask(name, _C.EVALUATE)
            said = response.network if response is not None else None
            if said is not None and said.confidence > best:
                best, self.chosen = said.confidence, name
            if best is HotspotHelperConfidence.HIGH:
                break
        return HotspotEvent.UNTAKEN if self.chosen is None else HotspotEvent.TAKEN

    async def _ask(
        self, name: str, kind: HotspotHelperCommandType, networks: Sequence[HotspotNetwork] = ()
    ) -> HotspotHelperResponse | None:
        network = None
        if kind is not _C.FILTER_SCAN_LIST and self.network is not None:
            network = replace(self.network, is_chosen_helper=name == self.chosen)
        command = HotspotHelperCommand(kind, network, networks, self._sockets)
        try:
            async with asyncio.timeout(None if kind is _C.PRESENT_UI else PATIENCE):
                return await self._helpers[name](command)
        except TimeoutError:
            self._say(f"{name}: no answer to {kind.name} within {PATIENCE:.0f} s")
        except Exception as error:  # a helper's mistake is that helper's
            self._say(f"{name}: {kind.name} failed: {type(error).__name__}: {error}")
        return None


class HotspotHelper:
    """The helpers of this program: NEHotspotHelper."""

    _handlers: ClassVar[dict[str, Handler]] = {}
    _session: ClassVar[HotspotSession | None] = None

    @classmethod
    def register(cls, display_name: str, handler: Handler) -> bool:
        """Return True if `handler` is asked from the next `run` on: one of that name is registered once."""
        if display_name in cls._handlers:
            return False
        cls._handlers[display_name] = handler
        return True

    @classmethod
    def supported_network_interfaces(cls) -> list[str]:
        """The interfaces with a radio. Raises LocalError where there is none, or all are blocked."""
        return interfaces()

    @classmethod
    async def logoff(cls) -> None:
        """Have the helper that took the network log off."""
        if cls._session is not None:
            await cls._session.logoff()

    @classmethod
    async def run(
        cls,
        backend: WifiBackend | None = None,
        *,
        every: float = EVERY,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Ask the helpers about each network that is joined, until cancelled. Raises LocalError."""
        wifi = await asyncio.to_thread(find_wifi) if backend is None else backend
        mark = await asyncio.to_thread(open_way)
        session = cls._session = HotspotSession(cls._handlers, SocketOptions(mark, wifi.interface), say)
        loop = asyncio.get_running_loop()
        before: tuple[str, str] | None = None
        looked = loop.time()
        while True:
            network = await asyncio.to_thread(wifi.current)
            now = None if network is None else (network.ssid, network.bssid)
            if now != before:
                before, looked = now, loop.time()
                await (session.left() if network is None else session.joined(network))
            elif network is not None and loop.time() - looked >= PERIOD:
                looked = loop.time()
                await session.period()
            await asyncio.sleep(every)


def open_way() -> int:
    """Open the way past the tunnel to a login page for this process: the mark of its packets; 0 where none is needed.

    Raises LocalError or RemoteError. Blocks.
    """
    try:
        return int(ask(RuntimeDirectory.running().control, "portal", pid=os.getpid())["mark"])
    except (NotRunning, Refused):
        return 0
