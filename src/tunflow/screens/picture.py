"""What a view shows, as values; and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class ShownFlow:
    """One flow."""

    number: str
    """Its name for who ends it."""
    network: str
    program: str
    """The program's name; "" where nobody knows."""
    target: str
    """Name or address, and port."""
    server: str
    rule: str
    path: tuple[str, ...]
    """From the rule's target through groups to the server."""
    up: int
    """Bytes from the client so far."""
    down: int
    """Bytes to the client so far."""
    since: str
    """ISO 8601."""
    client: str
    address: str
    """The target's address; "" where the server finds it."""
    executable: str


@dataclass(frozen=True, slots=True)
class ShownMember:
    """A member of a group."""

    name: str
    delay: int | None
    """Milliseconds; None where it was not asked yet."""
    works: bool


@dataclass(frozen=True, slots=True)
class ShownGroup:
    """A group of servers, or the one way out that is no group."""

    name: str
    kind: str
    now: str
    members: tuple[ShownMember, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A tunnel at one moment."""

    title: str
    up: int
    """Bytes from clients so far."""
    down: int
    """Bytes to clients so far."""
    memory: int
    """Bytes of the tunnel's process; 0 where nobody says."""
    flows: tuple[ShownFlow, ...] | None
    """None where nobody writes them down."""
    groups: tuple[ShownGroup, ...]

    def facts(self) -> dict[str, Any]:
        """The same for JSON."""
        return asdict(self)


class TunnelSource(Protocol):
    """A tunnel that is looked at. Calls block, and raise LocalError or RemoteError."""

    def look(self) -> Picture:
        """Return what there is now."""

    def choose(self, group: str, member: str) -> None:
        """Use a member in a group of the type select."""

    def measure(self, group: str) -> dict[str, int | None]:
        """Ask the servers of a group how long they take: milliseconds, None for no answer."""

    def end(self, number: str) -> None:
        """End a flow."""

    def lines(self) -> Iterator[str]:
        """What the tunnel says, from now on or a little before, until it ends."""
