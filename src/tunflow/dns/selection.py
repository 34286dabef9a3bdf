"""Which groups of resolvers a lookup asks, and which of their replies is the answer.

A `Selector` is made once from the configuration; it begins a `Selection` for each lookup. That is told of every reply
and of every group that has no more to say, and ends with `chosen` or with nothing. It does no I/O: replies and times
are arguments, so a table of them is a test.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tunflow.dns.answers import Answer

AddressTest = Callable[[bytes], bool]
"""True if a packed address is of a set."""
NameTest = Callable[[str], bool]
"""True if a name (lower case, without the last dot) is of a set."""


class Reply(NamedTuple):
    """One message that came from a resolver."""

    answer: Answer
    addresses: tuple[bytes, ...]
    """Of the answer's A and AAAA records, in order, packed; only those along the aliases of the name asked for."""
    group: str
    server: str
    """What the resolver is called in the log."""


@dataclass(frozen=True, slots=True)
class SelectionStep:
    """One thing that a selection did, for `tunflow explain`."""

    reply: Reply | None
    verdict: str
    why: str

    def __str__(self) -> str:
        return f"{self.reply.server}: {self.verdict}: {self.why}" if self.reply else f"{self.verdict}: {self.why}"


class Selection(ABC):
    """One lookup; the base of the policies."""

    def __init__(self, groups: tuple[str, ...]) -> None:
        self.groups = groups
        """Those to ask, all at once."""
        self.chosen: Reply | None = None
        self.due: float | None = None
        """When `expire` wants to be called."""
        self.steps: list[SelectionStep] = []
        self._silent: set[str] = set()

    @property
    def over(self) -> bool:
        """True if nothing that may still come changes the outcome."""
        return self.chosen is not None or self._silent.issuperset(self.groups)

    @abstractmethod
    def heard(self, reply: Reply, now: float) -> None:
        """A resolver replied."""

    def ended(self, group: str, now: float) -> None:  # noqa: ARG002
        """No more comes from a group."""
        self._silent.add(group)

    def expire(self, now: float) -> None:  # noqa: B027 - most wait for nothing
        """`due` has come."""

    def take(self, reply: Reply, why: str) -> None:
        """That is the answer."""
        self.chosen = reply
        self.due = None
        self.note(reply, "taken", why)

    def note(self, reply: Reply | None, verdict: str, why: str) -> None:
        """Remember a step. A hostile resolver may send replies without end, so only the first are kept."""
        if len(self.steps) < 64:
            self.steps.append(SelectionStep(reply, verdict, why))


class Selector(Protocol):
    """Begins selections."""

    def select(self, name: str, kind: int, now: float) -> Selection:
        """The selection for a lookup of `kind` records of `name`."""

    def network_changed(self) -> None:
        """Forget what was found out about names: seen from another network they may be elsewhere."""


class FirstReply(Selection):
    """Believes whoever answers first."""

    def heard(self, reply: Reply, now: float) -> None:  # noqa: ARG002
        """Take it."""
        self.take(reply, "the first reply")


class Routes:
    """Sends names to groups: the first of `routes` whose test holds, else `otherwise`."""

    def __init__(self, routes: tuple[tuple[str, NameTest, str], ...], otherwise: Selector) -> None:
        self._routes = routes
        self._otherwise = otherwise

    def select(self, name: str, kind: int, now: float) -> Selection:
        """As `Selector.select`."""
        for label, test, group in self._routes:
            if test(name):
                selection = FirstReply((group,))
                selection.note(None, "asked", f"{group}, because {name} is in {label}")
                return selection
        return self._otherwise.select(name, kind, now)

    def network_changed(self) -> None:
        """As `Selector.network_changed`."""
        self._otherwise.network_changed()


class OneGroup:
    """Asks one group for everything."""

    def __init__(self, group: str) -> None:
        self._groups = (group,)

    def select(self, name: str, kind: int, now: float) -> Selection:  # noqa: ARG002
        """As `Selector.select`."""
        return FirstReply(self._groups)

    def network_changed(self) -> None:
        """As `Selector.network_changed`: nothing was."""
