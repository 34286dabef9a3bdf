"""Regular expressions: what they find, beside Python's own, and what they cost."""

from __future__ import annotations

import re
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.rules.expression import Allowance, OutOfAllowance, expression
from tunflow.rules.expression_syntax import NotKept

PLENTY = 10_000_000

ATOMS = st.sampled_from(
    ["a", "b", "[ab]", "[^a]", ".", r"\d", r"\w", r"\b", r"\B", "^", "$", "-", "", r"\.", "[a-c-]", r"[\d-]"]
)
REPEATS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,}", "{0,2}", "*?", "+?"])


def _repeated(part: tuple[str, str]) -> str:
    atom, repeat = part
    return atom + ("" if atom in {"^", "$", r"\b", r"\B", ""} else repeat)


PIECES = st.recursive(
    st.tuples(ATOMS, REPEATS).map(_repeated),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        st.tuples(inner, REPEATS).map(lambda part: f"(?:{part[0]}){part[1]}"),
    ),
    max_leaves=8,
)


def found(pattern: str, text: str, *, match_case: bool = False) -> bool:
    return expression(pattern, match_case=match_case).found_in(text, Allowance(PLENTY))


@given(PIECES, st.lists(st.text("abAB-. 1", min_size=1, max_size=10), min_size=1, max_size=5))
def test_it_finds_what_a_backtracking_engine_finds(pattern, texts):
    """Also where sets of states are used again for a second text."""
    made = expression(pattern)
    wanted = re.compile(pattern, re.IGNORECASE)
    for text in texts:
        assert made.found_in(text, Allowance(PLENTY)) is (wanted.search(text) is not None), text


@pytest.mark.parametrize(
    ("pattern", "text", "verdict"),
    [
        (r"^ads?[0-9]*\.", "ads12.example", True),
        (r"^ads?[0-9]*\.", "xads12.example", False),
        (r"\/ads\/[a-z]{3,5}\.js$", "http://h/ads/abcd.js", True),
        (r"\/ads\/[a-z]{3,5}\.js$", "http://h/ads/abcdef.js", False),
        (r"(?<kind>ad|banner)s", "http://h/banners", True),
        (r"(?i)ADS", "ads", True),
        ("\\x61\\u0064s", "ads", True),
        (r"a{", "a{", True),
        (r"a{,2}b", "aaab", True),
        (r"[]a]", "]", True),
        ("bücher", "bücher", True),
    ],
)
def test_expressions_of_lists(pattern, text, verdict):
    assert found(pattern, text) is verdict


def test_case_counts_where_it_is_said_to():
    assert found("Ads", "ADS")
    assert not found("Ads", "ADS", match_case=True)
    assert not found("[^a]", "A")


@pytest.mark.parametrize(
    "pattern", [r"(a)\1", "a(?=b)", "(?!a)b", "(?<=a)b", "(?>a)", "a++", "a{1,999}", "(" * 60 + ")" * 60, r"\p{L}",
                "(?:a{200}){200}", "(" * 40 + "".join("){200}" for _ in range(40))]
)  # fmt: skip
def test_what_no_automaton_decides_is_not_kept_and_told_at_once(pattern):
    start = time.process_time()
    with pytest.raises(NotKept):
        expression(pattern)
    assert time.process_time() - start < 1


@pytest.mark.parametrize("pattern", ["(", ")", "[a", "*a", "a\\", "[b-a]", "^*", "a{3,2}", r"\x1"])
def test_what_is_no_expression_is_refused(pattern):
    with pytest.raises(ValueError, match=r".") as caught:
        expression(pattern)
    assert not isinstance(caught.value, NotKept)


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|aa)+$", "(a*)*b", "a*a*a*a*a*a*b", r"(?:\w+\.)+\w+\.\w+!", "(?:a?){30}a{30}"]
)
def test_no_text_makes_an_expression_slow(pattern):
    """Python's own engine needs hours for some of these."""
    made = expression(pattern)
    text = "a" * 250 + "!"
    took = []
    for _ in range(5):
        start = time.thread_time()
        with suppress(OutOfAllowance):
            made.found_in(text, Allowance(10_000))
        took.append(time.thread_time() - start)
    assert min(took) < 0.001


def test_an_answer_that_would_cost_more_than_it_may_is_none():
    made = expression("(?:a|b){1,60}c[ab]{60}d")
    text = "".join("ab"[number * number % 7 % 2] for number in range(1000)) + "c" * 900
    with pytest.raises(OutOfAllowance):
        made.found_in(text, Allowance(2000))
    assert made.found_in("ac" + "ab" * 30 + "d", Allowance(PLENTY))
