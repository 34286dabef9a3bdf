"""Lists that would make a URL cost much, whoever writes them: what a question costs is bounded, however many rules."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime

import pytest

from cost import lines_executed
from tunflow.endpoint import endpoint
from tunflow.filter.block_list import STEPS, BlockList
from tunflow.filter.judge import Judge, ListUse, Subject

NOW = datetime(2026, 3, 2, tzinfo=UTC)
CLIENT = endpoint("10.0.0.1", 0).host
SPARED = "|".join(f"n{number}.example" for number in range(2_500))

LISTS = {
    "one name again and again": ["||h.example^"] * 5_000,
    "one name for one client after the other": [
        f"||h.example^$client=10.{number >> 8}.{number & 255}.0/24" for number in range(2_000)
    ],
    "one name for one device after the other": [f"||h.example^$client=device{number}" for number in range(2_000)],
    "one pattern for one client after the other": [f"-ads-x$client=10.0.{number}.0/24" for number in range(256)] * 4,
    "exceptions by the thousand": [f"-ads-x$denyallow={SPARED}" for _ in range(8)],
    "one pattern but for somebody": [f"-ads-x$denyallow=n{number}.example" for number in range(3_000)],
    "one text in many patterns": [f"-ads-x*{number}" for number in range(3_000)],
    "one host": [f"||h.example/-ads-x*{number}" for number in range(3_000)],
    "one text in many expressions": [rf"/-ads-x[0-9]*{number}$/" for number in range(700)],
    "an expression but for somebody": [f"/x/$denyallow=n{number}.example" for number in range(700)],
    "patterns of many pieces": [f"/{'*'.join(['ads'] * 200)}*{number}" for number in range(50)],
}


@pytest.mark.parametrize("lines", LISTS.values(), ids=LISTS)
@pytest.mark.parametrize("path", ["-ads-x", "-ads-x" * 150, "-ads-x/" + "ads" * 2_500])
def test_what_a_question_costs(lines, path):
    judge = Judge((ListUse(BlockList("costly", lines)),))
    subject = Subject("h.example", 80, "tcp", f"http://h.example/{path}", client=CLIENT, hardware=b"")
    judge.judge(subject._replace(host="other.example", url="http://other.example/"), NOW)  # what is made once
    assert lines_executed(lambda: judge.judge(subject, NOW)) < STEPS  # a step is about a line


def test_texts_that_are_too_many_are_not_put_together():
    """They are filed under one word, of which the page's URL has plenty."""
    lines = [f"/ads/{number:05}*x" for number in range(20_000)]
    judge = Judge((ListUse(BlockList("costly", [line.replace("/0", "/*0").replace("/1", "/*1") for line in lines])),))
    subject = Subject("h.example", 80, "tcp", "http://h.example/ads/" + "ads/" * 10)
    judge.judge(subject, NOW)
    tracemalloc.start()
    try:
        judge.judge(subject, NOW)
        assert tracemalloc.get_traced_memory()[1] < 50_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", ["/ads/*{}/x", "||h.example/ads*{}", r"/ads-x[0-9]+{}\./", "/ads*{}$client=10.0.0.1"])
def test_cancelling_many_rules_takes_no_longer_for_each(shape):
    """Each looked at all others."""

    def lines(count):
        made = [shape.format(number) for number in range(count)]
        return [*made, *(f"{line}{',' if 'client' in line else '$'}badfilter" for line in made)]

    few, many = (lines_executed(lambda each=each: BlockList("cancelled", each)) for each in (lines(30), lines(240)))
    assert many < 12 * few
    assert len(BlockList("cancelled", lines(30))) == 0


def test_a_rule_that_is_said_twice_counts_once():
    made = BlockList("twice", ["||h.example^", "||h.example^", "@@||h.example^", "|h.example^", "@@||h.example^"])
    assert len(made) == 3
    finding = made.find("h.example")
    assert finding is not None
    assert (finding.blocked, finding.line) == (False, 3)
