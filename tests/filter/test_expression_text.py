"""Texts that expressions demand: each expression is found only where one of them stands."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunflow.filter.block_list import BlockList
from tunflow.rules.expression import Allowance, Automaton, OutOfAllowance
from tunflow.rules.expression_syntax import NotKept, parse_expression
from tunflow.rules.expression_text import demands_of


@pytest.mark.parametrize(
    ("expression", "texts"),
    [
        (r"^https?:\/\/[a-z]{8}\.(com|net)\/track\.js$", ("/track.js",)),
        (r"ads[0-9]+\.banner\.", (".banner.",)),
        (r"(foo|barbaz)x?", ("foo", "barbaz")),
        (r"(foo|)y", ("y",)),
        (r"(foo|[0-9])z", ("z",)),
        (r"a{3}b", ("aaab",)),
        (r"a{2,3}bcd", ("bcd",)),
        (r"(ab)+c", ("ab",)),
        (r"(ab)*[xy]", ()),
        (r"Ban\bner", ("banner",)),
        (r".*", ()),
        (r"[aA]d", ("ad",)),
        (r"", ()),
    ],
)
def test_which(expression, texts):
    demands = [tuple(each.text for each in demand) for demand in demands_of(parse_expression(expression))]
    assert texts in demands or (not texts and not demands)


@pytest.mark.parametrize(
    ("expression", "beside"),
    [
        (r"[?&]ads=[0-9]", [("ads=", True, False)]),
        (r"(^|[/.])ads([0-9]+|x)", [("ads", True, False)]),
        (r"(^|[a-z.])ads$", [("ads", False, True)]),
        (r"[?&]?ads[-_]", [("ads", False, True)]),
        (r"[?&]+ads[-_]*", [("ads", True, False)]),
        (r"\bads\b", [("ads", False, False)]),
        (r"[^a-z0-9]ads\W", [("ads", False, False)]),
        (r"/+ads-*", [("/", False, False), ("ads", True, False)]),
        (r"x/(ads|[.]top)", [("x/", False, False), ("ads", True, False)]),
    ],
)
def test_what_stands_beside_them(expression, beside):
    """A sign that no word has: then a URL's words tell whether it is worth looking."""
    found = [each[:3] for demand in demands_of(parse_expression(expression)) for each in demand]
    assert found[: len(beside)] == beside


_PIECES = "a b ab [ab] (a|b) (ab|ba) a* b+ a? (ab){2} a{1,3} . ^ $ x / [-/] [-/]+ (^|/) (/|x)"
PIECES = st.sampled_from(_PIECES.split())


@settings(max_examples=400)
@given(st.lists(PIECES, max_size=6).map("".join), st.text("abx/-", max_size=12))
def test_nothing_is_found_without_them(expression, text):
    try:
        root = parse_expression(expression)
        automaton = Automaton([root])
    except (NotKept, ValueError):
        return
    if automaton.found_in(text, Allowance(1 << 30)):
        for texts in demands_of(root):
            assert any(_stands(each, text) for each in texts)


@pytest.mark.parametrize(
    ("expression", "before"),
    [
        (r"/[0-9]{3}/ads", [*3 * ["0123456789"], "/"]),
        (r"x[0-9]+/ads", ["0123456789"]),
        (r"x[0-9]{2,}/ads", 2 * ["0123456789"]),
        (r"x[0-9]*/ads", []),
        (r"x[0-9]?/ads", []),
        (r"(a|b)[12]/ads", ["12"]),
        (r"[12](a|b)/ads", []),
        (r"(x[12]){2}ads", []),
        (r"[12]/{2,3}ads", ["/", "/"]),
        (r"^[12]ads", ["12"]),
        (r"[12]{20}ads", 16 * ["12"]),
    ],
)
def test_what_stands_in_front_of_them(expression, before):
    *_, (last,) = demands_of(parse_expression(expression, match_case=True))
    assert last.text.endswith("ads")
    assert [{chr(code) for code in range(128) if members >> code & 1} for members in last.before] == [
        set(each) for each in before
    ]


def _stands(wanted, text):
    places = [at for at in range(len(wanted.before), len(text)) if text.startswith(wanted.text, at)]
    places = [
        at
        for at in places
        if all(members >> ord(text[at - place]) & 1 for place, members in enumerate(wanted.before, 1))
    ]
    return any(
        (not wanted.starts or not text[:at][-1:].isalnum())
        and (not wanted.ends or not text[at + len(wanted.text) :][:1].isalnum())
        for at in places
    )


_BODIES = r"ads banner / \. - [0-9]+ (js|gif) (top|left)- x* .* \? = ab [?&] (^|[/.]) $"
BODIES = st.lists(
    st.sampled_from(_BODIES.split()),
    min_size=1,
    max_size=5,
).map("".join)
URLS = st.lists(
    st.sampled_from(["ads", "banner", "/", ".", "-", "12", "js", "gif", "top-", "x", "?", "=", "ab", "ADS"]), max_size=9
).map("".join)


@settings(max_examples=300)
@given(st.lists(BODIES, min_size=1, max_size=30, unique=True), URLS)
def test_an_expression_is_filed_where_it_is_found(bodies, path):
    """However many there are, and whatever each is filed under."""
    url = f"http://h.example/{path}"
    made = BlockList("test", [f"/{body}/" for body in bodies])
    kept = [body for body in bodies if made.unsupported == 0]
    wanted = any(re.search(body, url, re.IGNORECASE) or re.search(body, "h.example") for body in kept)
    if made.unsupported == 0:
        with suppress(OutOfAllowance):
            assert (made.find("h.example", url) is not None) is wanted
    without = BlockList("test", [*(f"/{body}/" for body in bodies), *(f"/{body}/$badfilter" for body in bodies)])
    assert without.find("h.example", url) is None
    assert len(without) == 0


def test_ordinary_urls_beside_many_expressions_are_no_riddle():
    """Each of them met sets of states that were new until the allowance was used up: they were refused."""
    made = BlockList("test", [rf"/[a-z]{{3,9}}[0-9]+\.word{number}\.[a-z]+[?&]x=/" for number in range(200)])
    for number in range(200):
        assert (
            made.find("h.example", f"http://h.example/some{number}/path{number * 7}.html?q={number * 31:x}&x=1") is None
        )
