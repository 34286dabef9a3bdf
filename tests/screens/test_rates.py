"""Rates out of pictures, and sizes as people read them."""

from __future__ import annotations

import pytest

from tunflow.screens.picture import Picture, ShownFlow
from tunflow.screens.rates import Rates, graph, ordered, size


def picture(down: int, **flows: int) -> Picture:
    shown = tuple(
        ShownFlow(name, "tcp", name, "t:1", "s", "Match", ("s",), 0, size, "", "c:1", "", "")
        for name, size in flows.items()
    )
    return Picture("x", 0, down, 0, shown, ())


def test_rates_are_of_the_time_between() -> None:
    rates = Rates()
    assert [line.rate for line in rates.take(picture(100, a=100), 10.0)] == [0]
    lines = rates.take(picture(700, a=300, b=400), 12.0)
    assert {line.flow.number: line.rate for line in lines} == {"a": 100, "b": 200}
    assert list(rates.down)[-1] == 300


def test_a_tunnel_that_began_anew_is_not_negative() -> None:
    rates = Rates()
    rates.take(picture(1000, a=1000), 0.0)
    assert [line.rate for line in rates.take(picture(10, a=10), 1.0)] == [0]
    assert rates.down[-1] == 0


def test_orders() -> None:
    lines = Rates().take(picture(0, b=5, a=7, c=1), 0.0)
    assert [line.flow.number for line in ordered(lines, "bytes", "", backwards=False)] == ["a", "b", "c"]
    assert [line.flow.number for line in ordered(lines, "program", "", backwards=True)] == ["c", "b", "a"]
    assert [line.flow.number for line in ordered(lines, "program", "B", backwards=False)] == ["b"]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (999.6, "1.0 k"),
        (1500, "1.5 k"),
        (123_456, "123 k"),
        (999_600, "1.0 M"),
        (5e13, "50.0 T"),
    ],
)
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text


def test_a_graph() -> None:
    assert graph([0, 1, 500, 1000], 4) == " ▁▄█ 1.0 kB/s"
    assert graph([0, 0], 5) == "      0B/s"
    assert graph(range(1000), 3) == "▇██ 999B/s".replace("▇", "█")
