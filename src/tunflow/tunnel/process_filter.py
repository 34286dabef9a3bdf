"""The content filter of one process, whose tunnels may come and go while it stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tunflow.dataplane.driver import Driver
from tunflow.host.rights.open_file import OpenFile, open_file
from tunflow.loop.reactor import Reactor

if TYPE_CHECKING:
    from tunflow.host.netlink.neighbours import Neighbours
    from tunflow.hosting.watchdog import Watchdog
    from tunflow.providers.stop_reason import ProviderStopReason
    from tunflow.tunnel.filtering import Filtering
    from tunflow.tunnel.plan import Plan


class ProcessFilter:
    """Judges the flows of the driver of the moment as its plan says."""

    def __init__(
        self,
        reactor: Reactor,
        say: Callable[[str], None],
        opens: OpenFile = open_file,
        neighbours: Neighbours | None = None,
    ) -> None:
        """`opens` opens the files of filters; `neighbours` know the devices behind the interfaces of a plan."""
        self._reactor = reactor
        self._say = say
        self._opens = opens
        self._neighbours = neighbours
        self._filtering: Filtering | None = None
        self._watchdog: Watchdog | None = None

    @property
    def filtering(self) -> Filtering | None:
        """What judges now; None where nothing is filtered."""
        return self._filtering

    @property
    def has_life(self) -> bool:
        """True if it is one of the user's own, whose coroutines run on a loop beside the packets."""
        return self._filtering is not None and self._filtering.life is not None

    def serve(self, driver: Driver, plan: Plan, *, is_watched: bool) -> None:
        """Judge a driver's flows as a plan says, or no more. Raises LocalError, and then nothing has changed.

        `is_watched`: somebody else already tells of code that does not come back.
        """
        if self._neighbours is not None:
            self._neighbours.interfaces = plan.host.gateways
        if self._filtering is None and not plan.filters:
            return
        from tunflow.tunnel.filtering import change  # noqa: PLC0415 - much that few need

        assert plan.profile is not None
        find = None if self._neighbours is None else self._neighbours.find
        self._filtering = change(driver, plan.profile, self._filtering, self._say, self._opens, find)
        if self.has_life and not is_watched:
            self._watch()

    async def stop(self, reason: ProviderStopReason) -> None:
        """The process ends: stop one of the user's own, and write what its log still has to say."""
        if self._filtering is None:
            return
        if self.has_life:
            self._watch()  # who watched before may be gone with the tunnel
        try:
            await self._filtering.stop(reason)
        finally:
            if self._watchdog is not None:
                self._watchdog.close()

    def close(self) -> None:
        """As `stop`, for one that has no life of its own."""
        if self._filtering is not None:
            self._filtering.close()

    def _watch(self) -> None:
        if self._watchdog is None:
            from tunflow.hosting.watchdog import Watchdog  # noqa: PLC0415

            self._watchdog = Watchdog(self._reactor, self._say)
