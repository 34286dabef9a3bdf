"""Sending without hearing, in a loop whose time a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tunflow.providers.silence_watch import SILENCE, SilenceWatch


class SlowLoop(asyncio.SelectorEventLoop):
    """Its time passes only when the test says so."""

    now = 1000.0

    def time(self) -> float:
        return self.now

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and whatever fell due happen."""
        end = self.now + seconds
        while True:
            due = min((handle.when() for handle in self._scheduled if not handle.cancelled()), default=end + 1)
            self.now = min(max(due, self.now), end)
            self.run_until_complete(asyncio.sleep(0))
            if due > end:
                return


class Watched:
    def __init__(self, loop: SlowLoop) -> None:
        self.loop = loop
        self.told: list[tuple[float, str]] = []

        async def make() -> SilenceWatch:
            return SilenceWatch(lambda: self.tell("silent"), lambda: self.tell("over"))

        self.watch = loop.run_until_complete(make())

    def tell(self, what: str) -> None:
        self.told.append((self.loop.now - 1000.0, what))


@pytest.fixture
def watched() -> Iterator[Watched]:
    loop = SlowLoop()
    yield Watched(loop)
    loop.close()


def test_thirty_seconds_of_sending_unheard(watched: Watched) -> None:
    watched.watch.sent()
    watched.loop.pass_time(10)
    watched.watch.sent()
    watched.loop.pass_time(SILENCE - 10.5)
    assert watched.told == []
    watched.loop.pass_time(1)
    assert watched.told == [(SILENCE, "silent")]


def test_an_answer_counts_anew(watched: Watched) -> None:
    for _ in range(20):
        watched.watch.sent()
        watched.loop.pass_time(SILENCE - 1)
        watched.watch.heard()
    assert watched.told == []
    watched.loop.pass_time(1000)
    assert watched.told == [], "who says nothing waits for nothing"


def test_it_is_told_again_and_that_it_is_over(watched: Watched) -> None:
    watched.watch.sent()
    watched.loop.pass_time(SILENCE)
    watched.loop.pass_time(100)
    assert len(watched.told) == 1, "nothing was sent since"
    watched.watch.sent()
    watched.loop.pass_time(SILENCE)
    watched.watch.sent()
    watched.watch.heard()
    assert [what for _, what in watched.told] == ["silent", "silent", "over"]
    watched.watch.heard()
    assert len(watched.told) == 3


def test_closed_it_is_still(watched: Watched) -> None:
    watched.watch.sent()
    watched.watch.close()
    watched.loop.pass_time(2 * SILENCE)
    assert watched.told == []
