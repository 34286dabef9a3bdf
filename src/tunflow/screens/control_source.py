"""The tunnel of `up`, by its control socket: everything but single flows, which it writes down for an API only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunflow.control.client import Refused, ask, watch
from tunflow.errors import LocalError, RemoteError
from tunflow.screens.picture import Picture, ShownGroup, ShownMember


class ControlSource:
    """As `TunnelSource`."""

    def __init__(self, control: Path) -> None:
        self._control = control

    def look(self) -> Picture:
        """As `TunnelSource.look`."""
        facts = ask(self._control, "status")
        title = f"{facts['status']}: {facts.get('device') or 'on demand'}"
        up, down = int(facts.get("bytes_out") or 0), int(facts.get("bytes_in") or 0)
        return Picture(title, up, down, 0, None, self._groups(facts.get("servers") or []))

    def choose(self, group: str, member: str) -> None:
        """As `TunnelSource.choose`."""
        self._ask("groups", group=group, member=member)

    def measure(self, group: str) -> dict[str, int | None]:
        """As `TunnelSource.measure`."""
        events = watch(self._control)
        waiting = set(self._ask("measure", group=group)["servers"])
        found: dict[str, int | None] = {}
        while waiting:
            event = next(events, None)
            if event is None:
                raise RemoteError("the tunnel went down while its servers were asked")
            name = event.facts.get("server")
            if event.name == "delay" and isinstance(name, str) and name in waiting:
                waiting.discard(name)
                delay = event.facts.get("delay")
                found[name] = None if delay is None else round(delay * 1000) or 1
        return found

    def end(self, number: str) -> None:
        """As `TunnelSource.end`."""
        raise LocalError(f"flow {number}: only the API ends flows: tunflow up PROFILE --api 127.0.0.1:9090")

    def lines(self) -> Iterator[str]:
        """As `TunnelSource.lines`."""
        for event in watch(self._control):
            if event.name == "log":
                yield str(event.facts.get("line", ""))

    def _groups(self, servers: list[str]) -> tuple[ShownGroup, ...]:
        try:
            found = self._ask("groups")["groups"]
        except LocalError:  # no rules, so nothing is chosen
            return tuple(ShownGroup(each, "server", each, (ShownMember(each, None, True),)) for each in servers)
        return tuple(
            ShownGroup(
                group["name"],
                group["type"],
                group["now"],
                tuple(
                    ShownMember(each["name"], _milliseconds(each["delay"]), each["works"]) for each in group["members"]
                ),
            )
            for group in found
        )

    def _ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        try:
            return ask(self._control, operation, **arguments)
        except Refused as error:
            raise LocalError(str(error)) from None


def _milliseconds(delay: float | None) -> int | None:
    return None if delay is None else round(delay * 1000) or 1
