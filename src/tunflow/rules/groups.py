"""Groups: which of several servers a flow goes to. Machines without I/O.

Rules:
- `select` is what the user chose, whether it works or not. `fallback` is the first that works. `url-test` is the one
  that answers fastest, and stays until another is faster by its tolerance (else flows would hop at every measurement).
  `load-balance` gives each destination one server, and keeps it as servers come and go (rendezvous hashing), or takes
  one server after the other (`round-robin`).
- A server that nobody has asked yet counts as working. When none works, the first is tried: something that may have
  come back is better than nothing.
- A member may be a group. It works if what it would choose works.
- Health checks do not stampede: a server is asked only while a group that needs to know is in use, once at a time,
  however many groups it is in, not more than `AT_ONCE` in all, and at times that differ by a random part. A flow that
  fails at a server has it asked at once.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from tunflow.errors import LocalError
from tunflow.rules.health_question import USUAL, HealthQuestion

KINDS = ("select", "url-test", "fallback", "load-balance")
STRATEGIES = ("consistent-hashing", "round-robin", "sticky-sessions")
"""How `load-balance` chooses: one server for each destination, for as long as it works (the first and the last do the
same here), or one after the other."""

INTERVAL = 300.0
"""Seconds between two checks of a server."""
RETRY = 30.0
"""Seconds until a server that failed is asked again; doubled each time, up to the interval."""
JITTER = 0.2
"""The part of a pause that is random."""
TOLERANCE = 0.05
"""Seconds by which another server must be faster."""
AT_ONCE = 4
"""Checks under way at a time."""
SUSPECTED_AFTER = 5.0
"""Seconds after an answer during which a flow that fails is no reason to ask again."""
IN_USE = 2.0
"""Intervals after the last flow during which a group is checked."""


class Health:
    """What is known of servers, and when to ask them: a machine (`tunflow.machine`).

    `random` gives numbers in 0..1. What to ask is drained from `due`, at most `at_once` at a time; the answers are
    `succeeded` and `failed`, and `answered` hears of each (None for a failure).
    """

    def __init__(
        self,
        random: Callable[[], float],
        at_once: int = AT_ONCE,
        answered: Callable[[str, float | None], None] = lambda _server, _delay: None,
    ) -> None:
        self.due: list[str] = []
        """Servers to be asked now."""
        self._random = random
        self._servers: dict[str, _Server] = {}
        self._times: list[tuple[float, str]] = []
        self._waiting: list[str] = []
        self._asking = 0
        self._at_once = at_once
        self._told = answered

    def works(self, server: str) -> bool:
        """Return True if it answered when it was last asked, or was not asked yet."""
        known = self._servers.get(server)
        return known is None or known.failures == 0

    def delay(self, server: str) -> float | None:
        """Seconds that the last answer took; None if there was none."""
        known = self._servers.get(server)
        return known.delay if known is not None and not known.failures else None

    def memory(self) -> dict[str, float | None]:
        """What is known of every server that was asked: seconds, None for one that does not work."""
        return {name: known.delay for name, known in self._servers.items() if known.delay is not None or known.failures}

    def recall(self, server: str, delay: float | None) -> None:
        """What was known before a restart holds until somebody needs to know: then it is asked again, at once."""
        known = self._servers.setdefault(server, _Server())
        known.delay = delay
        known.failures = 0 if delay is not None else 1

    def used(self, server: str, now: float, interval: float = INTERVAL, *, for_good: bool = False) -> None:
        """A flow depends on how this server does: see to it that that is known, and not older than `interval`; for ever
        where it is wanted `for_good`."""
        known = self._servers.get(server)
        if known is None:
            known = self._servers[server] = _Server()
        known.used_at = inf if for_good else max(known.used_at, now)
        known.interval = min(known.interval, interval)
        if not known.scheduled:
            known.scheduled = True
            self._schedule(known, server, max(now, known.next_at))

    def suspect(self, server: str, now: float) -> None:
        """A flow failed at this server: ask it now instead of at its time, if anybody needs to know."""
        known = self._servers.get(server)
        if known is None or not known.scheduled or known.asking or known.failures:
            return
        if now - known.answered_at >= SUSPECTED_AFTER:
            self._schedule(known, server, now)

    def succeeded(self, server: str, delay: float, now: float) -> None:
        """It answered within `delay` seconds."""
        known = self._answered(server, now)
        known.failures = 0
        known.delay = delay
        self._again(server, now, known.interval)
        self._told(server, delay)

    def failed(self, server: str, now: float) -> None:
        """It did not."""
        known = self._answered(server, now)
        known.failures += 1
        known.delay = None
        self._again(server, now, min(known.interval, RETRY * 2 ** min(known.failures - 1, 10)))
        self._told(server, None)

    def next_timeout(self) -> float | None:
        """When somebody is to be asked."""
        return self._times[0][0] if self._times else None

    def handle_timeout(self, now: float) -> None:
        """Put those into `due` that it is time for."""
        while self._times and self._times[0][0] <= now:
            when, server = heapq.heappop(self._times)
            known = self._servers[server]
            if when != known.next_at or known.asking:
                continue  # another time was set since
            if now - known.used_at > IN_USE * known.interval:
                known.scheduled = False  # nobody needs to know; the next flow asks again
                continue
            known.asking = True
            self._waiting.append(server)
        self._start()

    def _start(self) -> None:
        while self._waiting and self._asking < self._at_once:
            self._asking += 1
            self.due.append(self._waiting.pop(0))

    def _answered(self, server: str, now: float) -> _Server:
        self._asking -= 1
        self._start()
        known = self._servers[server]
        known.asking = False
        known.answered_at = now
        return known

    def _again(self, server: str, now: float, pause: float) -> None:
        known = self._servers[server]
        self._schedule(known, server, now + pause * (1 - JITTER * self._random()))

    def _schedule(self, known: _Server, server: str, when: float) -> None:
        known.next_at = when
        heapq.heappush(self._times, (when, server))


class _Server:
    """One server's health."""

    __slots__ = ("answered_at", "asking", "delay", "failures", "interval", "next_at", "scheduled", "used_at")

    def __init__(self) -> None:
        self.delay: float | None = None
        self.failures = 0
        self.used_at = 0.0
        self.next_at = 0.0
        self.interval = INTERVAL
        self.scheduled = False
        self.asking = False
        self.answered_at = -SUSPECTED_AFTER


@dataclass(slots=True)
class Group:
    """One group; `chosen` is the user's choice, or what is in use (`url-test`)."""

    name: str
    kind: str
    members: tuple[str, ...]
    question: HealthQuestion = USUAL
    """What its members are asked for."""
    interval: float = INTERVAL
    """Seconds between two checks of a member."""
    tolerance: float = TOLERANCE
    strategy: str = STRATEGIES[0]
    is_lazy: bool = True
    """True if members are asked only while a flow needs to know."""
    chosen: str | None = None
    turns: int = 0
    """How often `round-robin` has chosen."""


def copied(groups: Iterable[Group]) -> list[Group]:
    """Groups of the same kind and members, in which nothing was chosen yet."""
    return [replace(group, chosen=None, turns=0) for group in groups]


class Groups:
    """All groups of a profile. Raises LocalError for a member that nobody knows, and for a group within itself."""

    def __init__(
        self, groups: Sequence[Group], servers: Collection[str], health: Health, built_in: Collection[str] = ()
    ) -> None:
        """`servers` are asked how they do; the `built_in` targets (DIRECT and so on) always work."""
        self._groups = {group.name: group for group in groups}
        self._health = health
        self._servers = servers
        for group in groups:
            for member in group.members:
                if member not in self._groups and member not in servers and member not in built_in:
                    raise LocalError(f"group {group.name!r}: there is no server or group {member!r}")
        for group in groups:
            self._check_loop(group.name, ())

    def __contains__(self, name: str) -> bool:
        return name in self._groups

    @property
    def all(self) -> Mapping[str, Group]:
        """The groups by name."""
        return self._groups

    @property
    def servers(self) -> Collection[str]:
        """The servers by name."""
        return self._servers

    @property
    def health(self) -> Health:
        """What is known of the servers."""
        return self._health

    def keep(self, before: Groups) -> None:
        """What was chosen before a reload stays so, where it can, and what was known of servers is known."""
        for name, group in self._groups.items():
            old = before._groups.get(name)
            if old is not None and old.kind == group.kind and old.chosen in group.members:
                group.chosen = old.chosen
        for server, delay in before._health.memory().items():
            if server in self._servers:
                self._health.recall(server, delay)

    def memory(self) -> dict[str, Any]:
        """What is to be known after a restart: choices, and how servers did; values of JSON."""
        chosen = {name: group.chosen for name, group in self._groups.items() if group.chosen is not None}
        return {"chosen": chosen, "servers": self._health.memory()}

    def recall(self, memory: Mapping[str, Any]) -> list[str]:
        """Take what `memory` gave before a restart; what of it there is no more, in words. The rest is dropped."""
        gone = []
        chosen, servers = memory.get("chosen"), memory.get("servers")
        for name, member in chosen.items() if isinstance(chosen, dict) else ():
            group = self._groups.get(name)
            if group is None:
                gone.append(f"the group {name!r}, where {member!r} was chosen")
            elif member not in group.members:
                gone.append(f"{member!r} in the group {name!r}, where it was chosen")
            elif group.kind in {"select", "url-test"}:
                group.chosen = member
        for name, delay in servers.items() if isinstance(servers, dict) else ():
            is_delay = isinstance(delay, int | float) and not isinstance(delay, bool) and 0 <= delay < 3600
            if name not in self._servers:
                gone.append(f"the server {name!r}")
            elif delay is None or is_delay:
                self._health.recall(name, delay)
        return gone

    def select(self, name: str, member: str) -> None:
        """The user's choice. Raises LocalError."""
        group = self._groups.get(name)
        if group is None or group.kind != "select":
            raise LocalError(f"{name!r} is not a group of the type select")
        if member not in group.members:
            raise LocalError(f"group {name!r} has no member {member!r}; it has: {', '.join(group.members)}")
        group.chosen = member

    def facts(self) -> list[dict[str, Any]]:
        """Every group for people: what it is, what it uses now, and how its servers do (`delay` in seconds)."""
        return [
            {
                "name": group.name,
                "type": group.kind,
                "now": self.way(group.name, "")[1],
                "members": [
                    {"name": member, "works": self._works(member, ""), "delay": self._delay(member, "")}
                    for member in group.members
                ],
            }
            for group in self._groups.values()
        ]

    def way(self, target: str, destination: str) -> list[str]:
        """From `target` through groups to a server: every name on the way, the server last.

        `destination` is what `load-balance` keeps together: a name or an address.
        """
        path = [target]
        while (group := self._groups.get(path[-1])) is not None:
            path.append(self._choose(group, destination))
        return path

    def servers_now(self, target: str) -> set[str]:
        """Return the servers that a flow to `target` may go to as things stand."""
        group = self._groups.get(target)
        if group is None:
            return {target}
        chosen: tuple[str, ...] = (self._choose(group, ""),)
        if group.kind == "load-balance":
            chosen = tuple(member for member in group.members if self._works(member, "")) or group.members
        return {server for member in chosen for server in self.servers_now(member)}

    def used(self, target: str, now: float) -> None:
        """A flow was sent to `target`: the members of its groups are in use."""
        group = self._groups.get(target)
        if group is None:
            return
        for member in group.members if group.kind != "select" else (group.chosen or group.members[0],):
            if member in self._groups:
                self.used(member, now)
            elif group.kind != "select" and member in self._servers:
                self._health.used(member, now, group.interval)

    def servers_of(self, target: str) -> list[str]:
        """The servers that `target`, a server or group, may use, each once. Raises LocalError for neither."""
        if target in self._servers:
            return [target]
        if target not in self._groups:
            known = ", ".join([*self._groups, *self._servers])
            raise LocalError(f"there is no group or server {target!r}; there are: {known}")
        found: list[str] = []
        for member in self._groups[target].members:
            if member in self._groups or member in self._servers:
                found += self.servers_of(member)
        return list(dict.fromkeys(found))

    def question(self, server: str) -> HealthQuestion:
        """What a server is asked for: as the first group says that it is in and that says something."""
        found = (group.question for group in self._groups.values() if server in group.members)
        return next((question for question in found if question != USUAL), USUAL)

    def wake(self, now: float) -> None:
        """See to it that groups that are not lazy know how their members do, whether a flow goes there or not."""
        for group in self._groups.values():
            if not group.is_lazy:
                for server in self.servers_of(group.name):
                    self._health.used(server, now, group.interval, for_good=True)

    def _choose(self, group: Group, destination: str) -> str:
        members = group.members
        if group.kind == "select":
            return group.chosen or members[0]
        working = [member for member in members if self._works(member, destination)] or list(members)
        if group.kind == "fallback":
            return working[0]
        if group.kind == "load-balance":
            if group.strategy == "round-robin":
                group.turns += 1
                return working[(group.turns - 1) % len(working)]
            return max(working, key=lambda member: weight(member, destination))
        delays = {member: self._delay(member, destination) for member in working}
        measured = {member: delay for member, delay in delays.items() if delay is not None}
        fastest = min(measured, key=measured.__getitem__) if measured else working[0]
        if group.chosen in measured and measured[group.chosen] <= measured[fastest] + group.tolerance:
            return group.chosen
        group.chosen = fastest
        return fastest

    def _works(self, member: str, destination: str) -> bool:
        return self._health.works(self.way(member, destination)[-1])

    def _delay(self, member: str, destination: str) -> float | None:
        return self._health.delay(self.way(member, destination)[-1])

    def _check_loop(self, name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise LocalError(f"group {name!r} contains itself: {' -> '.join((*above, name))}")
        group = self._groups.get(name)
        for member in group.members if group is not None else ():
            self._check_loop(member, (*above, name))


def weight(member: str, destination: str) -> bytes:
    """Rendezvous hashing: the member with the greatest weight gets the destination, so a member that goes away moves
    only its own destinations."""
    return hashlib.blake2b(f"{member}\0{destination}".encode(), digest_size=8).digest()
