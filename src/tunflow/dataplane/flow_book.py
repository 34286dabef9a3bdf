"""The flows of the moment, for whoever shows them: kept only where somebody asked for it (`FlowContext.book`).

A flow is written down when it is decided and carried; nobody tells when one ends. Flows that are over are found when
the book is read, or when it has grown to twice of what it was then, so its size follows the number of flows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING

from tunflow.conduit import Carrier
from tunflow.endpoint import Endpoint
from tunflow.flow import FlowInfo
from tunflow.stack.udp import DatagramFlow, UDPMapping, UDPTable

if TYPE_CHECKING:  # a port without rules has none
    from tunflow.rules.table import Verdict

SMALL = 1024
"""Flows that are kept at least before the book is looked through."""


class CarriedDatagrams:
    """A UDP flow, as long as the stack remembers it. `bytes_down` is of all flows of its client's socket."""

    __slots__ = ("_forget", "_table", "_udp")

    def __init__(self, udp: DatagramFlow, table: UDPTable, forget: Callable[[UDPMapping], None]) -> None:
        """`forget` gives back what serves a client's socket (`FlowContext.forget_client`)."""
        self._udp = udp
        self._table = table
        self._forget = forget

    @property
    def bytes_up(self) -> int:
        """As `Carrier.bytes_up`."""
        return self._udp.bytes_out

    @property
    def bytes_down(self) -> int:
        """As `Carrier.bytes_down`."""
        return self._udp.mapping.bytes_in

    @property
    def is_over(self) -> bool:
        """As `Carrier.is_over`."""
        return self._table.flows.get(self._udp.key) is not self._udp

    def cut(self) -> None:
        """Forget the client's socket: what it sends next begins anew."""
        self._forget(self._udp.mapping)


class FlowEntry:
    """One flow: its facts, where it goes and by what."""

    __slots__ = ("carrier", "flow", "hostname", "label", "number", "path", "since", "target", "verdict")

    def __init__(self, number: int, flow: FlowInfo, carrier: Carrier, label: str, target: Endpoint) -> None:
        self.number = number
        """Of the flow, never used again."""
        self.flow = flow
        self.carrier = carrier
        self.label = label
        """The way out, without secrets."""
        self.target = target
        """What was dialled: a name where the server is to find it."""
        self.since = time.time()
        """Seconds since the epoch."""
        self.hostname = flow.hostname
        self.verdict: Verdict | None = None
        """The rule's; None where there are no rules."""
        self.path: tuple[str, ...] = ()
        """From the rule's target through groups to the server."""


class FlowBook:
    """The flows of one device."""

    def __init__(self) -> None:
        self._entries: dict[int, FlowEntry] = {}
        self._numbers = count(1)
        self._limit = SMALL
        self._decided: dict[FlowInfo, tuple[Verdict, tuple[str, ...]]] = {}
        """Of flows that are decided and not carried yet."""

    def __len__(self) -> int:
        """How many are kept, over or not."""
        return len(self._entries)

    def decided(self, flow: FlowInfo, verdict: Verdict, path: list[str]) -> None:
        """A rule said where a flow goes."""
        if len(self._decided) > SMALL:  # refused flows are never carried
            self._decided.clear()
        self._decided[flow] = verdict, tuple(path)

    def carried(self, flow: FlowInfo, carrier: Carrier, label: str, target: Endpoint) -> None:
        """A flow is on its way."""
        if len(self._entries) >= self._limit:
            self._forget_ended()
        entry = FlowEntry(next(self._numbers), flow, carrier, label, target)
        why = self._decided.pop(flow, None)
        if why is not None:
            entry.verdict, entry.path = why
        self._entries[entry.number] = entry

    def entries(self) -> Iterator[FlowEntry]:
        """The flows of now, the oldest first."""
        self._forget_ended()
        return iter(list(self._entries.values()))

    def cut(self, number: int | None = None) -> int:
        """End one flow, or all; how many."""
        found = [entry for entry in self.entries() if number in (None, entry.number)]
        for entry in found:
            entry.carrier.cut()
        return len(found)

    def _forget_ended(self) -> None:
        self._entries = {number: entry for number, entry in self._entries.items() if not entry.carrier.is_over}
        self._limit = max(SMALL, 2 * len(self._entries))
