"""The index of texts beside a search for each of them."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from bench.generated_lists import hosts_of, lines, urls
from test_block_list import naive

from tunflow.filter.block_list import BlockList
from tunflow.filter.judge import TOO_LONG, Judge, ListUse, Subject

WORDS = ["ads", "ad", "js", "css", "a", "1", "728x90", "banner", "%2f", "track", "adserver", "pixel"]
SIGNS = ["/", "-", "_", ".", "?", "&", "=", "*", "^"]
NOW = datetime.now(UTC)


def pattern(chosen: random.Random) -> str:
    front, end = chosen.choice(["*", "/", "-", "|http://", "||"]), chosen.choice(["", "", "/", "|", "^"])
    body = "".join(chosen.choice(WORDS) + chosen.choice(SIGNS) for _ in range(chosen.randint(1, 4)))
    made = front + body + chosen.choice(["", chosen.choice(WORDS)]) + end
    return made if not (made.startswith("/") and made.endswith("/")) else f"{made}*"


def url(chosen: random.Random, size: int) -> str:
    made = "http://h.example/"
    while len(made) < size:
        made += chosen.choice(["zz", *WORDS]) + chosen.choice(SIGNS[:7])
    return made


@pytest.mark.parametrize("size", [30, 130, 700, 1500])
@pytest.mark.parametrize("seed", range(6))
def test_no_rule_is_missed_for_where_it_is_filed(seed: int, size: int) -> None:
    """Lists of few and of many rules, alone and beside each other, and URLs in which texts are looked for anywhere or
    around their words."""
    chosen = random.Random(seed)
    every = [each for each in (pattern(chosen) for _ in range(chosen.choice((8, 60)))) if len(each.strip("*|^")) > 2]
    patterns = [
        each for each in every if "|" not in each.strip("|") and not naive(each, False).search("http://h.example/")
    ]
    judge = Judge((ListUse(BlockList("some", patterns[::2])), ListUse(BlockList("more", patterns[1::2]))))
    for _ in range(20):
        asked = url(chosen, size)
        ruling = judge.judge(Subject("h.example", 80, "tcp", asked), NOW)
        wanted = any(naive(each, False).search(asked) for each in patterns)
        assert ruling is not TOO_LONG
        assert ruling.blocked is wanted, (asked, patterns, ruling)


def test_the_first_line_of_several_is_named() -> None:
    made = BlockList("test", ["-zzz-", "-banner-", "-ads-", "/x-ads-banner-y", "ads-banner"])
    found = made.find("h.example", "http://h.example/x-ads-banner-y?" + "a=1&" * 400)
    assert found is not None
    assert found.line == 2


def test_long_urls_of_pages_are_judged_and_not_refused() -> None:
    """Trackers have some of thousands of characters."""
    made = lines()[:20_000]
    judge = Judge((ListUse(BlockList("some", made[::2])), ListUse(BlockList("more", made[1::2]))))
    for size in (500, 2000):
        asked = [each + "?" + "&".join(urls(size // 132, seed))[: size - 132] for seed, each in enumerate(urls(20))]
        for host, each in zip(hosts_of(asked), asked, strict=True):
            assert judge.judge(Subject(host, 80, "tcp", each), NOW) is not TOO_LONG
