"""How fast flows and tunnels are, out of two pictures; the same flows in an order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from tunflow.screens.picture import Picture, ShownFlow

BARS = " ▁▂▃▄▅▆▇█"

KEPT = 240
"""Moments of the graph."""


@dataclass(frozen=True, slots=True)
class FlowLine:
    """A flow and its bytes per second, both ways."""

    flow: ShownFlow
    rate: float


ORDERS: dict[str, Callable[[FlowLine], float | str]] = {
    "rate": lambda line: -line.rate,
    "bytes": lambda line: -(line.flow.up + line.flow.down),
    "program": lambda line: line.flow.program.lower(),
    "server": lambda line: line.flow.server.lower(),
    "target": lambda line: line.flow.target.lower(),
}
"""What flows can be sorted by: numbers with the largest first."""


class Rates:
    """What becomes of pictures that are taken one after another; times in seconds."""

    def __init__(self) -> None:
        self.up: deque[float] = deque([0.0], KEPT)
        """Bytes per second from clients, the latest last."""
        self.down: deque[float] = deque([0.0], KEPT)
        """Bytes per second to clients, the latest last."""
        self._before: Picture | None = None
        self._at = 0.0
        self._sizes: dict[str, int] = {}

    def take(self, picture: Picture, now: float) -> list[FlowLine]:
        """The picture's flows with their rates since the last one."""
        seconds = now - self._at
        if self._before is None or seconds <= 0:
            rates = {flow.number: 0.0 for flow in picture.flows or ()}
        else:
            self.up.append(max(0, picture.up - self._before.up) / seconds)
            self.down.append(max(0, picture.down - self._before.down) / seconds)
            rates = {
                flow.number: max(0, flow.up + flow.down - self._sizes.get(flow.number, 0)) / seconds
                for flow in picture.flows or ()
            }
        self._before, self._at = picture, now
        self._sizes = {flow.number: flow.up + flow.down for flow in picture.flows or ()}
        return [FlowLine(flow, rates[flow.number]) for flow in picture.flows or ()]


def ordered(lines: Iterable[FlowLine], order: str, words: str, *, backwards: bool) -> list[FlowLine]:
    """Those of the lines that say all of `words`, in an order of `ORDERS`."""
    wanted = words.lower().split()
    found = [line for line in lines if all(word in _text(line.flow) for word in wanted)]
    found.sort(key=lambda line: line.flow.number)  # so that equals keep their places
    return sorted(found, key=ORDERS[order], reverse=backwards)


def _text(flow: ShownFlow) -> str:
    return f"{flow.program} {flow.target} {flow.rule} {' '.join(flow.path)} {flow.network}".lower()


def graph(rates: Sequence[float], width: int) -> str:
    """The latest rates as bars, and the highest of them: `▁▂▅█▃ 1.2 MB/s`."""
    shown = list(rates)[-width:]
    most = max(shown)
    bars = (BARS[min(len(BARS) - 1, ceil(rate * (len(BARS) - 1) / most))] if most else BARS[0] for rate in shown)
    return f"{''.join(bars):>{width}} {size(most)}B/s"


def size(count: float) -> str:
    """A number of bytes in at most six characters: `12.3 M`."""
    for unit in ("", "k", "M", "G", "T"):
        if count < 999.5 or unit == "T":
            digits = 0 if not unit or count >= 99.95 else 1
            return f"{count:.{digits}f} {unit}".rstrip()
        count /= 1000
    raise AssertionError
