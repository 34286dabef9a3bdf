"""A user's own filter from start to stop: its providers, what they may ask for, and the flows that wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from tunflow.hosting.services import ProviderFailed, Services
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import SocketOptions
from tunflow.providers.filter_provider import FilterProvider
from tunflow.providers.network_path import NetworkPath
from tunflow.providers.stop_reason import ProviderStopReason

if TYPE_CHECKING:
    from tunflow.dataplane.filtering.flow_filter import FlowFilter
    from tunflow.providers.host import ProviderHost

START_TIMEOUT = 10.0
STOP_TIMEOUT = 5.0
"""Seconds that a filter may take to start and to stop."""


class FilterServices(Services):
    """Runs beside one provider of a filter."""

    async def start(self) -> None:
        """Start it. Raises ProviderFailed."""
        await self._call("start_filter", START_TIMEOUT)

    async def stop(self, reason: ProviderStopReason) -> None:
        """Stop it, and end its tasks."""
        try:
            await self._call("stop_filter", STOP_TIMEOUT, reason)
        except ProviderFailed as error:
            self._log.tell(str(error), str(error))
        await self._end_tasks()


class FilterLife:
    """Starts the providers in the next round of the reactor, which must be an asyncio loop's by then (`ReactorLoop`).

    Flows wait until all have started. When one fails to, the profile's `on_failure` decides about flows.
    """

    def __init__(
        self, providers: Sequence[FilterProvider], reactor: Reactor, log: CauseLog, sockets: SocketOptions
    ) -> None:
        self._services = [FilterServices(each, reactor, log, sockets, NetworkPath()) for each in providers]
        for service, provider in zip(self._services, providers, strict=True):
            provider.bind(cast("ProviderHost", service))
        self._log = log
        self._flow_filter: FlowFilter | None = None
        self._outcome: str | None = None
        """Why it did not start; "" once it did, None until then."""
        self._starting: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        reactor.call_soon(self._begin)

    def serve(self, flow_filter: FlowFilter) -> None:
        """Judge the flows of this driver from now on."""
        self._flow_filter = flow_filter
        flow_filter.hold()
        if self._outcome is not None:
            self._tell()

    async def stop(self, reason: ProviderStopReason) -> None:
        """The filter is over."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait((self._starting,))
        for service in self._services:
            await service.stop(reason)

    def leave(self, reason: ProviderStopReason) -> None:
        """Stop, with nobody waiting for it."""
        self._leaving = asyncio.get_running_loop().create_task(self.stop(reason))

    def _begin(self) -> None:
        self._starting = asyncio.get_running_loop().create_task(self._start())

    async def _start(self) -> None:
        try:
            for service in self._services:
                await service.start()
        except ProviderFailed as error:
            self._log.tell(str(error), str(error))
            self._outcome = str(error)
        else:
            self._outcome = ""
        self._tell()

    def _tell(self) -> None:
        if self._flow_filter is not None:
            if self._outcome:
                self._flow_filter.provider_failed(self._outcome)
            else:
                self._flow_filter.begin()
