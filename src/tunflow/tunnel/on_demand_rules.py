"""Brings a tunnel up and takes it down as its on-demand rules say, whenever the network changes.

Nothing is polled: the kernel tells of changes (`monitor`), and a path that is the same as before is not judged
again. Only a tunnel that should be up and cannot be brought up is tried again by the clock, ever more seldom.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from tunflow.errors import LocalError, RemoteError
from tunflow.providers.network_path import NetworkPath
from tunflow.providers.on_demand import (
    Lookup,
    OnDemandAction,
    OnDemandRule,
    Outcome,
    Probe,
    Question,
    evaluate,
)

RETRY_AT_FIRST = 1.0
RETRY_AT_MOST = 60.0
"""Seconds between two tries to bring the tunnel up."""

Ask = Callable[[Question], Awaitable[bool]]
"""Finds out, around the tunnel, what the rules want to know."""


class OnDemandTunnel(Protocol):
    """The tunnel that comes and goes."""

    @property
    def is_up(self) -> bool:
        """True if it is there."""

    @property
    def is_held(self) -> bool:
        """True if the host is closed for its sake, whether it is there or not."""

    async def connect(self) -> None:
        """Bring it up. Raises LocalError or RemoteError."""

    async def disconnect(self) -> None:
        """Take it down, and open the host. Raises LocalError."""


class OnDemand:
    """Judges the network each time that `changed` is called, until cancelled.

    `look` tells the network, `say` is told what happens.
    """

    def __init__(
        self,
        rules: Sequence[OnDemandRule],
        look: Callable[[], Awaitable[NetworkPath]],
        ask: Ask,
        connection: OnDemandTunnel,
        say: Callable[[str], None],
    ) -> None:
        self._rules = tuple(rules)
        self._look = look
        self._ask = ask
        self._connection = connection
        self._say = say
        self._changed = asyncio.Event()
        self._changed.set()
        self._path: NetworkPath | None = None
        self.outcome: Outcome | None = None
        """What the rules said last."""
        self.settled = asyncio.Event()
        """True if the rules were followed once, successfully or not."""

    def changed(self) -> None:
        """The network changed."""
        self._changed.set()

    def again(self) -> None:
        """What is known of the network is old: the machine slept."""
        self._path = None
        self._changed.set()

    @property
    def where(self) -> str:
        """The network that was judged last, for people."""
        path = self._path
        return f"{path.interface} ({path.interface_type})" if path is not None and path.is_satisfied else "no network"

    def use(self, rules: Sequence[OnDemandRule]) -> None:
        """Go on with other rules."""
        self._rules = tuple(rules)
        self.again()

    async def run(self) -> None:
        """Follow the rules, until cancelled."""
        delay = 0.0
        while True:
            try:
                async with asyncio.timeout(delay or None):
                    await self._changed.wait()
            except TimeoutError:
                pass
            else:
                delay = 0.0
            self._changed.clear()
            delay = await self._follow(delay)
            self.settled.set()

    async def _follow(self, delay: float) -> float:
        """Judge and act; the seconds after which to try again, or 0."""
        path = await self._look()
        if path != self._path or self.outcome is None:
            self._path = path
            self.outcome = await self._judge(path)
            self._tell(path, self.outcome)
        action = self.outcome.action
        try:
            if action is OnDemandAction.CONNECT and not self._connection.is_up:
                await self._connection.connect()
            elif action is OnDemandAction.DISCONNECT and (self._connection.is_up or self._connection.is_held):
                await self._connection.disconnect()
        except (LocalError, RemoteError) as error:
            held = "; nothing goes out until it is (kill switch)" if self._connection.is_held else ""
            self._say(f"not connected: {error}{held}")
            return min(RETRY_AT_MOST, max(RETRY_AT_FIRST, delay * 2))
        return 0.0

    async def _judge(self, path: NetworkPath) -> Outcome:
        answers: dict[Question, bool] = {}
        while not isinstance(outcome := evaluate(self._rules, path, answers), Outcome):
            answers[outcome] = await self._ask(outcome)
            subject = outcome.url if isinstance(outcome, Probe) else outcome.name
            kind = "resolves" if isinstance(outcome, Lookup) else "answers"
            self._say(f"on demand: {subject} {kind}: {'yes' if answers[outcome] else 'no'}")
        return outcome

    def _tell(self, path: NetworkPath, outcome: Outcome) -> None:
        where = f"on {self.where}" if path.is_satisfied else "without a network"
        why = "no rule matches" if outcome.rule is None else f"rule {outcome.rule + 1}"
        self._say(f"on demand: {outcome.action.name.lower()} {where}: {why}")
