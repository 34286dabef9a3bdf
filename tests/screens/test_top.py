"""The view for terminals, driven by keys at 80 by 24, and what its screen says."""

from __future__ import annotations

import asyncio
import html
import re
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from tunflow.errors import RemoteError
from tunflow.screens.picture import Picture, ShownFlow, ShownGroup, ShownMember
from tunflow.screens.top import TopView

Steps = Callable[[TopView, "Pilot[None]"], Awaitable[None]]


def flow(number: str, program: str, target: str, server: str, down: int) -> ShownFlow:
    return ShownFlow(
        number, "tcp", program, target, server, "DomainSuffix example", ("pick", server), 10, down,
        "2026-11-29T12:00:00Z", "198.18.0.1:5000", "192.0.2.1", f"/usr/bin/{program}",
    )  # fmt: skip


class Tunnel:
    """A source that answers from memory, and remembers what it was told."""

    def __init__(self) -> None:
        self.flows: tuple[ShownFlow, ...] | None = (
            flow("1", "curl", "a.example:443", "tokyo", 2_000_000),
            flow("2", "firefox", "b.example:443", "paris", 3_000),
            flow("3", "apt", "c.example:80", "tokyo", 50),
        )
        members = (ShownMember("tokyo", 120, True), ShownMember("paris", None, False))
        self.groups = (ShownGroup("pick", "select", "tokyo", members),)
        self.did: list[object] = []
        self.done = threading.Event()
        self.fails = False
        self.looks = 0

    def look(self) -> Picture:
        self.looks += 1
        if self.fails:
            raise RemoteError("127.0.0.1:9090: Connection refused")
        return Picture("home", 500, 2_003_050, 50_000_000, self.flows, self.groups)

    def choose(self, group: str, member: str) -> None:
        self.did.append(("choose", group, member))
        self.done.set()

    def measure(self, group: str) -> dict[str, int | None]:
        self.did.append(("measure", group))
        self.done.set()
        return {"tokyo": 99, "paris": None}

    def end(self, number: str) -> None:
        self.did.append(("end", number))
        self.done.set()

    def lines(self) -> Iterator[str]:
        yield "the tunnel said something"
        threading.Event().wait(600)


def drive(tunnel: Tunnel, steps: Steps, size: tuple[int, int] = (80, 24)) -> None:
    async def run() -> None:
        view = TopView(tunnel, 0.05)
        async with view.run_test(size=size) as pilot:
            await until(lambda: "home" in screen(view) or tunnel.fails)
            await steps(view, pilot)

    asyncio.run(run())


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0)


def screen(view: TopView) -> str:
    """What a reader sees, a line each."""
    found: dict[float, list[tuple[float, str]]] = {}
    for attributes, text in re.findall(r"<text([^>]*)>([^<]*)</text>", view.export_screenshot()):
        x, y = (float(re.search(rf' {name}="([\d.]+)"', attributes)[1]) for name in "xy")  # type: ignore[index]
        found.setdefault(y, []).append((x, html.unescape(text).replace("\xa0", " ")))
    return "\n".join("".join(text for _, text in sorted(found[y])) for y in sorted(found))


def rows(view: TopView, name: str) -> list[list[str]]:
    table = view.screen_stack[0].query_one(f"#{name}", DataTable)
    return [[str(cell) for cell in table.get_row_at(at)] for at in range(table.row_count)]


def test_flows_fit_a_small_terminal() -> None:
    async def steps(view: TopView, _: Pilot[None]) -> None:
        await until(lambda: "a.example:443" in screen(view) and "Quit" in screen(view))
        told = screen(view)
        for words in ("home", "3 flows", "Program", "Target", "Server", "Down", "Rate", "curl", "2.0 M", "Quit"):
            assert words in told, told

    drive(Tunnel(), steps)


def test_sorting_and_finding() -> None:
    async def steps(view: TopView, pilot: Pilot[None]) -> None:
        await pilot.press("b")
        assert [row[0] for row in rows(view, "flow-table")] == ["curl", "firefox", "apt"]
        await pilot.press("p")
        assert [row[0] for row in rows(view, "flow-table")] == ["apt", "curl", "firefox"]
        await pilot.press("p")
        assert [row[0] for row in rows(view, "flow-table")] == ["firefox", "curl", "apt"]
        await pilot.press("slash", *"paris", "enter")
        assert [row[0] for row in rows(view, "flow-table")] == ["firefox"]
        await pilot.press("escape")
        assert len(rows(view, "flow-table")) == 3

    drive(Tunnel(), steps)


def test_why_a_flow_goes_there_and_ending_it() -> None:
    tunnel = Tunnel()

    async def steps(view: TopView, pilot: Pilot[None]) -> None:
        await pilot.press("p", "enter")
        await until(lambda: "DomainSuffix example" in screen(view))
        assert "pick -> tokyo" in screen(view)
        assert "/usr/bin/apt" in screen(view)
        assert tunnel.flows is not None
        tunnel.flows = tunnel.flows[1:]  # it goes on looking meanwhile
        await until(lambda: len(rows(view, "flow-table")) == 2)
        await pilot.press("escape", "k")
        await until(tunnel.done.is_set)

    drive(tunnel, steps)
    assert tunnel.did == [("end", "3")]


def test_choosing_and_testing_servers() -> None:
    tunnel = Tunnel()

    async def steps(view: TopView, pilot: Pilot[None]) -> None:
        await pilot.press("2")
        await until(lambda: "does not work" in screen(view))
        assert rows(view, "server-table") == [
            ["pick", "select", "* tokyo", "120 ms"],
            ["", "", "  paris", "does not work"],
        ]
        await pilot.press("down", "enter")
        await until(tunnel.done.is_set)
        tunnel.done.clear()
        await pilot.press("t")
        await until(lambda: "1 servers answered" in screen(view))

    drive(tunnel, steps)
    assert tunnel.did == [("choose", "pick", "paris"), ("measure", "pick")]


def test_the_log() -> None:
    async def steps(view: TopView, pilot: Pilot[None]) -> None:
        await pilot.press("3")
        await until(lambda: "the tunnel said something" in screen(view))

    drive(Tunnel(), steps)


def test_flows_that_come_and_go() -> None:
    tunnel = Tunnel()

    async def steps(view: TopView, pilot: Pilot[None]) -> None:
        await pilot.press("p")
        assert tunnel.flows is not None
        tunnel.flows = tunnel.flows[:1]
        await until(lambda: [row[0] for row in rows(view, "flow-table")] == ["curl"])
        tunnel.flows = tuple(flow(str(n), f"p{n:04}", "d.example:1", "tokyo", n) for n in range(3000))
        await until(lambda: len(rows(view, "flow-table")) == 300)
        assert "3000 flows" in screen(view)

    drive(tunnel, steps)


def test_without_flows_it_says_where_they_are() -> None:
    tunnel = Tunnel()
    tunnel.flows = None

    async def steps(view: TopView, _: Pilot[None]) -> None:
        await until(lambda: "--api" in screen(view))

    drive(tunnel, steps)


def test_a_tunnel_that_went_away_is_a_line() -> None:
    tunnel = Tunnel()

    async def steps(view: TopView, _: Pilot[None]) -> None:
        tunnel.fails = True
        await until(lambda: "Connection refused" in screen(view))

    drive(tunnel, steps)


def test_markup_in_names_is_text() -> None:
    tunnel = Tunnel()
    tunnel.flows = (flow("1", "[red]x", "[/nothing]:1", "[b]", 1),)

    async def steps(view: TopView, _: Pilot[None]) -> None:
        await until(lambda: "[red]x" in screen(view))

    drive(tunnel, steps)


def test_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def steps(view: TopView, _: Pilot[None]) -> None:
        await until(lambda: "a.example:443" in screen(view))
        assert view.no_color

    drive(Tunnel(), steps)


def test_what_does_not_change_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str | None] = []
    update = Static.update
    monkeypatch.setattr(
        Static, "update", lambda self, *given, **how: (drawn.append(self.id), update(self, *given, **how))
    )
    tunnel = Tunnel()

    async def steps(view: TopView, _: Pilot[None]) -> None:
        looks = tunnel.looks
        await until(lambda: tunnel.looks > looks + 2)
        before = len(drawn)
        await until(lambda: tunnel.looks > looks + 8)
        assert len(drawn) == before

    drive(tunnel, steps)
