"""Lists of rules and servers with an `interval`: a tunnel that is up fetches them again, and goes on with what is new.

Rules:
- What does not parse, was cut short or has shrunk is not taken (`rule_update`): the last good list stays.
- One list at a time, in a thread; no list more often than once a minute, unless somebody asks for it. One that fails
  is asked for again after a minute, then ever more seldom, at least once an interval.
- A profile is compiled and taken up as `tunflow reload` does; where that fails the tunnel goes on as it was.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunflow.errors import LocalError, RemoteError
from tunflow.profiles.profile import Profile
from tunflow.tunnel import rule_data, server_lists
from tunflow.tunnel.compile import compile_profile
from tunflow.tunnel.plan import Plan
from tunflow.tunnel.rule_lists import RuleLists
from tunflow.tunnel.rule_update import ListSource, UpdateOutcome, fetched_at, rule_set_sources, update

FIRST = 30.0
"""Seconds after the start in which nothing is fetched."""
LEAST = 60.0
"""Seconds between two questions for one list."""
MOST = 3600.0
"""Seconds after which is looked again, whatever was due: the clock, or the profile, may have changed."""

Update = Callable[[Sequence[ListSource], Path], list[UpdateOutcome]]


class ListRefresh:
    """Serves one tunnel while `run` runs. `plan` gives its plan of the moment, `reload` makes it go on by another.

    `pause` waits for seconds; `now` is the time of day, in seconds.
    """

    def __init__(
        self,
        plan: Callable[[], Plan],
        reload: Callable[[Plan], Awaitable[None]],
        say: Callable[[str], None],
        update: Update = update,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], float] = time.time,
        *,
        lasting: bool = True,
    ) -> None:
        """`lasting` as for `compile_profile`."""
        self._lasting = lasting
        self._plan = plan
        self._reload = reload
        self._say = say
        self._update = update
        self._pause = pause
        self._now = now
        self._failures: dict[str, int] = {}
        self._asked: dict[str, float] = {}
        self._outcomes: dict[str, UpdateOutcome] = {}
        self._one = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._deeds: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Fetch what is due, until cancelled."""
        self._loop = asyncio.get_running_loop()
        await self._pause(FIRST)
        while True:
            profile = self._plan().profile
            due = [] if profile is None else self._due(profile)
            now = self._now()
            ready = [source for when, source in due if when <= now]
            if ready and profile is not None:
                await self._fetch(ready, profile)
            left = [when for when, _ in due if when > now]
            await self._pause(min(MOST, max(1.0, min(left) - now)) if left else LEAST)

    def fetch_now(self, name: str, done: Callable[[UpdateOutcome], None]) -> bool:
        """Fetch the list of a name (`server list NAME`, `rule set NAME`), and tell what became of it; in the loop.

        Return False where there is no such list, or nothing runs yet.
        """
        profile = self._plan().profile
        found = [] if profile is None else [source for source in _sources(profile) if source.name == name]
        if self._loop is None or profile is None or not found:
            return False

        async def fetch() -> None:
            await self._fetch(found, profile)
            done(self._outcomes[name])

        task = self._loop.create_task(fetch())
        self._deeds.add(task)
        task.add_done_callback(self._deeds.discard)
        return True

    def facts(self) -> list[dict[str, Any]]:
        """What became of each list that was asked for, for `status --json`."""
        return [
            {
                "name": name,
                "state": outcome.state,
                "entries": outcome.count,
                "reason": outcome.reason,
                "asked": datetime.fromtimestamp(self._asked[name], UTC).isoformat(timespec="seconds"),
            }
            for name, outcome in self._outcomes.items()
        ]

    def _due(self, profile: Profile) -> list[tuple[float, ListSource]]:
        """When each list with an interval is to be fetched."""
        intervals = {f"rule set {name}": section.interval for name, section in profile.rule_sets.items()}
        intervals |= {server_lists.label(name): section.interval for name, section in profile.server_lists.items()}
        found = []
        for source in _sources(profile):
            interval = intervals[source.name]
            if interval is None:
                continue
            failures = self._failures.get(source.name, 0)
            pause = min(interval, LEAST * 2 ** min(failures - 1, 20)) if failures else interval
            known = fetched_at(source, rule_data.directories()[0])
            last = max(self._asked.get(source.name, 0.0), 0.0 if failures or known is None else known.timestamp())
            found.append((last + pause, source))
        return found

    async def _fetch(self, sources: list[ListSource], profile: Profile) -> None:
        """Fetch lists, and go on with what is new."""
        async with self._one:
            await self._fetch_each(sources, profile)

    async def _fetch_each(self, sources: list[ListSource], profile: Profile) -> None:
        is_new = False
        for source in sources:
            self._asked[source.name] = self._now()
            try:
                (outcome,) = await asyncio.to_thread(self._update, [source], rule_data.directories()[0])
            except LocalError as error:  # nothing can be written
                outcome = UpdateOutcome(source.name, "failed", reason=str(error))
            before = self._outcomes.get(source.name)
            self._outcomes[source.name] = outcome
            if outcome.state == "failed":
                self._failures[source.name] = self._failures.get(source.name, 0) + 1
                if before is None or before.reason != outcome.reason:
                    self._say(f"{source.name} stays as it was: {outcome.reason}")
            else:
                self._failures.pop(source.name, None)
                is_new = is_new or outcome.state == "updated"
        if is_new:
            try:
                plan = await asyncio.to_thread(
                    lambda: compile_profile(profile, RuleLists(profile, self._say), lasting=self._lasting)
                )
                await self._reload(plan)
            except (LocalError, RemoteError) as error:
                self._say(f"new lists are not used yet: {error}")


def _sources(profile: Profile) -> list[ListSource]:
    return rule_set_sources(profile) + server_lists.sources(profile)
