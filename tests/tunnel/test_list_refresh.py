"""Lists that a tunnel fetches again by itself: when, what becomes of failures, and that the last good one stays."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tunflow.errors import RemoteError
from tunflow.profiles.imports.fetch import ServerReply
from tunflow.profiles.profile import Profile
from tunflow.tunnel import rule_update
from tunflow.tunnel.compile import compile_profile
from tunflow.tunnel.list_refresh import ListRefresh
from tunflow.tunnel.plan import Plan
from tunflow.tunnel.rule_data import DATA_VARIABLE, rule_set_path

URL = "https://l.example/list.txt"
DATA = {
    "name": "p",
    "server": "ss://YWVzLTI1Ni1nY206cA@192.0.2.1:8388",
    "rules": ["RULE-SET,l,REJECT", "MATCH,PROXY"],
    "rule_sets": {"l": {"behavior": "domain", "url": URL, "interval": 600}},
}


class Over(Exception):
    """The script is played."""


class Bench:
    """A tunnel's plan, a clock that only pauses move, and answers by their turn."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *answers: bytes | str) -> None:
        monkeypatch.setenv(DATA_VARIABLE, str(folder))
        path = folder / rule_set_path(URL)
        path.parent.mkdir(parents=True)
        path.write_text("old.example\n")
        self.now = 1_000_000.0
        self.answers = list(answers)
        self.asked: list[float] = []
        self.said: list[str] = []
        self.plan: Plan = compile_profile(Profile.parse(DATA, "p"))
        self.reloads = 0
        self.refresh = ListRefresh(
            lambda: self.plan, self.reload, self.said.append, self.update, self.pause, lambda: self.now
        )
        record = {"url": URL, "fetched": self.date(), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        path.with_name(path.name + ".json").write_text(json.dumps(record))

    def date(self) -> str:
        return datetime.fromtimestamp(self.now, UTC).isoformat(timespec="seconds")

    async def pause(self, seconds: float) -> None:
        assert seconds >= 1.0
        self.now += seconds
        if not self.answers:
            raise Over

    async def reload(self, plan: Plan) -> None:
        self.plan = plan
        self.reloads += 1

    def update(self, sources, place: Path) -> list[rule_update.UpdateOutcome]:
        def fetch(_url: str, _etag: str | None) -> ServerReply:
            self.asked.append(self.now - 1_000_000.0)
            answer = self.answers.pop(0)
            if isinstance(answer, str):
                raise RemoteError(answer)
            return ServerReply(answer, None)

        return rule_update.update(sources, place, fetch=lambda url, etag, *_: fetch(url, etag))

    def play(self) -> None:
        with pytest.raises(Over):
            asyncio.run(self.refresh.run())


def test_a_list_is_fetched_again_after_its_interval_and_the_tunnel_goes_on_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, monkeypatch, b"new.example\nolder.example\n")
    bench.play()
    assert bench.asked == [600.0]
    assert bench.reloads == 1
    (fact,) = bench.refresh.facts()
    assert (fact["name"], fact["state"], fact["entries"], fact["reason"]) == ("rule set l", "updated", 2, None)


def test_one_that_fails_is_asked_again_ever_more_seldom_and_the_last_good_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(
        tmp_path, monkeypatch, "l.example does not answer", "l.example does not answer", b"<html>", b"old.example\n"
    )
    bench.play()
    assert bench.asked == [600.0, 660.0, 780.0, 1020.0]
    assert bench.reloads == 0
    assert (tmp_path / rule_set_path(URL)).read_text() == "old.example\n"
    assert bench.said[0] == "rule set l stays as it was: l.example does not answer"
    assert len(bench.said) == 2, "told once for each reason"
    assert bench.refresh.facts()[0]["state"] == "unchanged"


def test_a_list_is_fetched_when_somebody_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, monkeypatch, b"new.example\n", "gone")
    outcomes: list[tuple[str, str | None]] = []

    async def play() -> None:
        assert not bench.refresh.fetch_now("rule set l", lambda _: None)  # nothing runs yet
        task = asyncio.create_task(bench.refresh.run())
        heard = asyncio.Event()

        def done(outcome: rule_update.UpdateOutcome) -> None:
            outcomes.append((outcome.state, outcome.reason))
            heard.set()

        while not bench.refresh.fetch_now("rule set l", done):
            await asyncio.sleep(0)
        await heard.wait()
        assert not bench.refresh.fetch_now("rule set nobody", done)
        heard.clear()
        assert bench.refresh.fetch_now("rule set l", done)
        await heard.wait()
        task.cancel()

    async def waits(_seconds: float) -> None:
        await asyncio.Event().wait()

    bench.refresh = ListRefresh(
        lambda: bench.plan, bench.reload, bench.said.append, bench.update, waits, lambda: bench.now
    )
    asyncio.run(play())
    assert outcomes == [("updated", None), ("failed", "gone")]
    assert bench.reloads == 1
