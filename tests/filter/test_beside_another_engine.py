"""Generated lists and URLs beside Brave's engine (`adblock`): every difference is one that docs/filter.md explains.

The engine judges requests of a page, and is asked here for a resource that a page of the same site loads. What is
compared is what both know: rules without options, and `$important`, `$badfilter` and `$match-case`.
"""

from __future__ import annotations

import random

import pytest
from adblock import Engine, FilterSet

from tunflow.filter.block_list import BlockList

WORDS = ["ads", "ad", "banner", "track", "pixel", "img", "js", "stat", "count", "a", "b", "x1", "728x90"]
HOSTS = [
    "ads.example.com",
    "example.com",
    "web.example.com",
    "track.example.org",
    "badads.example.net",
    "cdn.shop.example",
    "ads",
]
SEPARATORS = ["/", "-", "_", ".", "?", "&", "=", "/"]


def pattern(chosen: random.Random) -> str:
    kind = chosen.random()
    if kind < 0.3:
        return f"||{chosen.choice(HOSTS)}^"
    if kind < 0.4:
        return f"||{chosen.choice(['ads.', 'track.', 'example.', 'ads.example', 'shop.example'])}"
    front = chosen.choice(["", "", "||" + chosen.choice(HOSTS[:-1]) + "/", "/", "-", "_", "."])
    body = "".join(chosen.choice(WORDS) + chosen.choice([*SEPARATORS, "*", "^"]) for _ in range(chosen.randint(1, 3)))
    return front + body.rstrip("*") + chosen.choice(["", "", chosen.choice(WORDS), "|"])


def line(chosen: random.Random) -> str:
    made = pattern(chosen)
    kind = chosen.random()
    if kind < 0.15:
        return "@@" + made  # without $important: what that beats is in the table of differences
    if kind < 0.22:
        return made + "$important"
    if kind < 0.27:
        return made + "$match-case"
    return made


def url(chosen: random.Random) -> str:
    path = "".join(chosen.choice(WORDS) + chosen.choice(SEPARATORS) for _ in range(chosen.randint(0, 5)))
    return f"http://{chosen.choice(HOSTS)}/{path}{chosen.choice(WORDS)}"


def is_explained(text: str) -> bool:
    """The lines that docs/filter.md's table is about: names and paths without `||`, regular expressions, short ones."""
    body = text.removeprefix("@@").partition("$")[0]
    starts_as_host = not body.startswith(("|", "/", "-", "_", ".", "?", "&", "="))
    return starts_as_host or (body.startswith("/") and body.rstrip("|").endswith("/")) or len(body.strip("*|^")) < 3


@pytest.mark.parametrize("seed", range(40))
def test_both_engines_say_the_same(seed):
    chosen = random.Random(seed)
    lines = [made for made in (line(chosen) for _ in range(60)) if not is_explained(made)]
    lines.append("||sure.example^")
    lines += [made + ("," if "$" in made else "$") + "badfilter" for made in chosen.sample(lines, 4)]
    chosen.shuffle(lines)
    ours = BlockList("test", lines)
    filters = FilterSet(debug=True)
    filters.add_filters(lines)
    theirs = Engine(filters)
    for _ in range(150):
        asked = url(chosen)
        host = asked.split("/")[2]
        found = ours.find(host, asked)
        other = theirs.check_network_urls(asked, f"http://{host}/", "image")
        wanted = other.matched and not other.exception
        assert (found is not None and found.blocked) is wanted, (
            asked,
            found and lines[found.line - 1],
            other.filter,
            other.exception,
        )


@pytest.mark.parametrize(
    ("text", "asked", "ours", "theirs"),
    [
        # One row for each row of docs/filter.md's table.
        ("bad.example", "http://h.example/bad.example", False, True),
        ("||www.bad.example^", "http://bad.example/", False, True),
        ("/ads/|", "http://h.example/xadsx", False, True),
        ("||bad.example^$~image", "http://bad.example/x.png", True, False),
        ("||bad.example^$image", "http://bad.example/x.png", False, True),
        ("/^ads[.]/", "http://ads.bad.example/", True, False),
        ("||bad.example^$important\n@@||bad.example^$important", "http://bad.example/x", False, True),
    ],
)
def test_where_they_differ_on_purpose(text, asked, ours, theirs):
    host, lines = asked.split("/")[2], text.split("\n")
    found = BlockList("test", [*lines, "||other.example^"]).find(host, asked)
    filters = FilterSet(debug=True)
    filters.add_filters(lines)
    assert (found is not None and found.blocked) is ours
    assert Engine(filters).check_network_urls(asked, f"http://{host}/", "image").matched is theirs
