from __future__ import annotations

import random
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost import lines_executed, times_slower
from tunflow.rules.domains import DomainSet, Match, normalise, suffixes

labels = st.sampled_from(["a", "b", "ab", "com", "example", "badexample"])
names = st.lists(labels, min_size=1, max_size=4).map(".".join)


@given(st.lists(names, max_size=4), st.lists(names, max_size=4), st.lists(labels, max_size=2), names)
def test_matches_like_a_walk_over_all_entries(exact: list[str], under: list[str], within: list[str], name: str) -> None:
    made = DomainSet(exact, under, within)
    naive = (
        name in exact
        or any(name == suffix or name.endswith("." + suffix) for suffix in under)
        or any(keyword in name for keyword in within)
    )
    assert (name in made) is naive
    assert (made.match(name) is not None) is naive


def test_tells_what_matched_the_longest_suffix_first() -> None:
    made = DomainSet(["exact.org"], ["com", "example.com"], ["track"])
    assert made.match("exact.org") == Match("exact", "exact.org")
    assert made.match("a.example.com") == Match("suffix", "example.com")
    assert made.match("badexample.com") == Match("suffix", "com")
    assert made.match("xtracky.org") == Match("keyword", "track")
    assert made.match("a.exact.org") is None
    assert len(made) == 4
    assert "a.org" in made | DomainSet(suffixes=["org"])


def test_suffixes_are_the_name_and_what_is_above() -> None:
    assert list(suffixes("a.b.c")) == ["a.b.c", "b.c", "c"]


@pytest.mark.parametrize(
    ("given", "form"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("Bücher.example", "xn--bcher-kva.example"),  # RFC 3492's favourite
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),  # UTS #46: the ideographic full stop is a dot
        ("_dmarc.example", "_dmarc.example"),
    ],
)
def test_names_have_one_form(given: str, form: str) -> None:
    assert normalise(given) == form


@pytest.mark.parametrize(
    "text", ["", ".", "a..b", ".a", "a b", "a/b", "a" * 64, ".".join(["a" * 60] * 5), "a:1", "\ud800.com", "é" * 80]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the reason differs)
        normalise(text)


def many_names(count: int) -> list[str]:
    rng = random.Random(1)
    return [f"{rng.getrandbits(40):x}.{rng.getrandbits(16):x}.Example{n % 50}.com" for n in range(count)]


def test_ten_times_as_many_names_cost_ten_times_as_much_to_load() -> None:
    few, many = (
        lines_executed(partial(lambda names: DomainSet(suffixes=map(normalise, names)), many_names(count)))
        for count in (1000, 10_000)
    )
    assert many < 11 * few


def test_a_name_is_found_among_a_hundred_thousand_as_fast_as_among_a_hundred() -> None:
    names = many_names(100_000)
    small, large = (DomainSet(suffixes=map(normalise, names[:count])) for count in (100, 100_000))
    assert len(large) == 100_000
    probes = ["www.nothing.to.see.example1.com", "a.b." + normalise(names[7]), "example.org"]

    def ask(made: DomainSet) -> None:
        for probe in probes:
            assert (probe in made) is (probe == probes[1])

    assert lines_executed(partial(ask, large)) < 2 * lines_executed(partial(ask, small))
    assert times_slower(partial(ask, large), partial(ask, small)) < 10
