"""Sets of addresses from included and excluded networks, where the longest prefix decides. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from tunflow.host.network.settings import Network

Interval = tuple[int, int]
"""First and last address as numbers."""


def covered(included: Iterable[Network], excluded: Iterable[Network], version: int) -> list[Interval]:
    """The addresses of IP `version` whose longest network is an included one, as disjoint intervals in order.

    A network in both counts as excluded.
    """
    verdicts = {network: True for network in included if network.version == version}
    verdicts.update((network, False) for network in excluded if network.version == version)
    sweep = _Sweep()
    for network in sorted(verdicts, key=lambda each: (int(each.network_address), each.prefixlen)):  # outer ones first
        sweep.enter(int(network.network_address), int(network.broadcast_address), verdicts[network])
    return sweep.finish()


class _Sweep:
    """Walks through the addresses in order, knowing which networks it is in."""

    def __init__(self) -> None:
        self._found: list[Interval] = []
        self._position = 0
        self._around: list[tuple[int, bool]] = []
        """Last address and verdict of the networks around the position, the innermost last."""

    def enter(self, first: int, last: int, verdict: bool) -> None:
        while self._around and self._around[-1][0] < first:
            self._leave()
        self._advance(first)
        self._around.append((last, verdict))

    def finish(self) -> list[Interval]:
        while self._around:
            self._leave()
        return self._found

    def _leave(self) -> None:
        self._advance(self._around[-1][0] + 1)
        self._around.pop()

    def _advance(self, to: int) -> None:
        """Take the addresses from the position to before `to` by the innermost network's verdict."""
        if to <= self._position:
            return
        if self._around and self._around[-1][1]:
            if self._found and self._found[-1][1] == self._position - 1:
                self._found[-1] = (self._found[-1][0], to - 1)
            else:
                self._found.append((self._position, to - 1))
        self._position = to
