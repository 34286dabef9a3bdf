"""Asks servers once how they do, because somebody wants to know now."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import SocketOptions
from tunflow.outbound.health import HealthChecks
from tunflow.protocols.contract import Outbound
from tunflow.rules.groups import Health
from tunflow.rules.health_question import HealthQuestion

AT_ONCE = 16
"""Servers asked at a time."""

DelayListener = Callable[[str, float | None], None]
"""A server, and the seconds that its answer took; None where there was none."""


class DelayRound:
    """Asks each of `servers`, `AT_ONCE` at a time; `told` hears each answer, `left` says how many are to come."""

    def __init__(
        self,
        reactor: Reactor,
        servers: Iterable[str],
        dialer_of: Callable[[str], Outbound | None],
        question_of: Callable[[str], HealthQuestion],
        sockets: SocketOptions,
        told: DelayListener,
    ) -> None:
        self._reactor = reactor
        self._told = told
        health = Health(lambda: 0.0, AT_ONCE, self._answered)
        self._checks = HealthChecks(reactor, health, dialer_of, question_of, sockets)
        self._waiting = set(servers)
        for server in sorted(self._waiting):
            health.used(server, reactor.now)
        self._checks.arm()

    @property
    def left(self) -> int:
        """How many have not answered yet."""
        return len(self._waiting)

    def close(self) -> None:
        """Ask nobody any more."""
        self._checks.close()

    def _answered(self, server: str, delay: float | None) -> None:
        if server in self._waiting:
            self._waiting.discard(server)
            self._told(server, delay)
        if not self._waiting:
            self._checks.close()
