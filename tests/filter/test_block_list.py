"""Block lists: each syntax, precedence, and speed."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cost import lines_executed, times_slower
from tunflow.filter.block_list import BlockList
from tunflow.filter.judge import PASSES, TOO_LONG, Judge, ListUse, Subject
from tunflow.filter.list_line import EXCEPT, IMPORTANT, Broken, DomainRule, Unsupported, URLRule, parse_line
from tunflow.filter.url_rules import Filed, URLRules
from tunflow.filter.wildcard import URLText, holds
from tunflow.rules.domains import suffixes
from tunflow.rules.expression import Allowance


@pytest.mark.parametrize(
    ("line", "rules"),
    [
        ("", []),
        ("# a comment", []),
        ("! a comment", []),
        ("[Adblock Plus 2.0]", []),
        ("0.0.0.0 ads.example", [DomainRule("ads.example", below=False)]),
        (
            "::1 ads.example  tracker.example # both",
            [DomainRule(n, below=False) for n in ("ads.example", "tracker.example")],
        ),
        ("127.0.0.1 localhost", []),
        ("0.0.0.0\tads.example # both, with blanks", [DomainRule("ads.example", below=False)]),
        ("0.0.0.0 ads.example ## why", [DomainRule("ads.example", below=False)]),
        ("example.com\t# why", [DomainRule("example.com")]),
        ("2001:DB8:0::1", [DomainRule("2001:db8::1")]),
        ("[2001:db8::1]", [DomainRule("2001:db8::1")]),
        ("||2001:db8::1^", [DomainRule("2001:db8::1")]),
        ("::ffff:192.0.2.1", [DomainRule("192.0.2.1")]),
        ("||bücher.example^", [DomainRule("xn--bcher-kva.example")]),
        ("@@||bücher.example^", [DomainRule("xn--bcher-kva.example", EXCEPT)]),
        ("||bücher.example/ü*", [URLRule("||xn--bcher-kva.example/%C3%BC*")]),
        ("bücher.example/x", [URLRule("||xn--bcher-kva.example/x")]),
        ("-bücher-", [URLRule("-b%C3%BCcher-")]),
        ("|example.com^", [DomainRule("example.com", below=False)]),
        ("http://example.com/", [DomainRule("example.com", below=False)]),
        ("https://example.com", [DomainRule("example.com", below=False)]),
        ("@@|https://example.com^", [DomainRule("example.com", EXCEPT, below=False)]),
        ("http://[2001:db8::1]/", [DomainRule("2001:db8::1", below=False)]),
        ("http://192.0.2.1:5050/x", [URLRule("|http://192.0.2.1:5050/x")]),
        ("||192.0.2.1:8080^", [URLRule("||192.0.2.1:8080^")]),
        ("Example.COM.", [DomainRule("example.com")]),
        ("example.com # why", [DomainRule("example.com")]),
        ("*.example.com", [DomainRule("example.com", itself=False)]),
        ("bücher.example", [DomainRule("xn--bcher-kva.example")]),
        ("||example.com^", [DomainRule("example.com")]),
        ("||example.com^$important", [DomainRule("example.com", IMPORTANT)]),
        ("||example.com^$all", [DomainRule("example.com")]),
        ("@@||example.com^", [DomainRule("example.com", EXCEPT)]),
        ("@@||example.com^$important", [DomainRule("example.com", EXCEPT | IMPORTANT)]),
        ("example.com/path", [URLRule("||example.com/path")]),
        ("http://example.com/x", [URLRule("|http://example.com/x")]),
        ("||example.com/a*b", [URLRule("||example.com/a*b")]),
        ("-banner-", [URLRule("-banner-")]),
        ("/ads[0-9]+/", [URLRule("/ads[0-9]+/")]),
        ("-Banner-$match-case", [URLRule("-Banner-", match_case=True)]),
    ],
)
def test_lines(line, rules):
    assert parse_line(line) == rules


@pytest.mark.parametrize(
    "line", ["example.com##.ad", "##.ad", "example.com#@#.ad", "||a.example^$third-party",
             "||a.example^$domain=b.example", "-x-y-$script,image", "example.com#?#div:has(.ad)", "example.com$$script",
             "https://example.com/path", "|https://example.com/path$important"]
)  # fmt: skip
def test_rules_that_need_what_a_tunnel_cannot_see_are_said_to_be_unsupported(line):
    (rule,) = parse_line(line)
    assert isinstance(rule, Unsupported)


@pytest.mark.parametrize(
    "line",
    [
        "0.0.0.0 exa,mple.com",
        "||" + "a" * 64 + ".com^",
        "/(/",
        "*",
        "||^",
        "exa mple",
        "a..b",
        "10.0.0.0/8",
        "address=/ads.example/0.0.0.0",
        "<html>",
        '<a href="x.example/y">',
    ],
)
def test_broken_lines(line):
    assert all(isinstance(rule, Broken) for rule in parse_line(line))
    assert parse_line(line)


def blocked(lines, host, url=None):
    finding = BlockList("test", lines).find(host, url)
    return finding is not None and finding.blocked


@pytest.mark.parametrize(
    ("lines", "host", "verdict"),
    [
        (["example.com"], "example.com", True),
        (["example.com"], "www.example.com", True),
        (["example.com"], "badexample.com", False),
        (["0.0.0.0 example.com"], "www.example.com", False),
        (["*.example.com", "a.org"], "example.com", False),
        (["*.example.com"], "a.b.example.com", True),
        (["||example.com^", "@@||good.example.com^"], "good.example.com", False),
        (["||example.com^", "@@||good.example.com^"], "bad.example.com", True),
        (["||example.com^$important", "@@||good.example.com^"], "good.example.com", True),
        (["||example.com^$important", "@@||good.example.com^$important"], "good.example.com", False),
        (["example.com", "0.0.0.0 example.com"], "example.com", True),
        (["@@||example.com^", "example.com"], "example.com", False),
        (["||ads.*^"], "ads.example.com", True),
        (["2001:db8::1"], "2001:db8::1", True),
        (["2001:db8::1"], "2001:db8::12", False),
        (["https://example.com/"], "example.com", True),
        (["||example.com/path"], "example.com", False),  # a host alone is not that page
    ],
)
def test_hosts(lines, host, verdict):
    assert blocked(lines, host) is verdict


@pytest.mark.parametrize(
    ("pattern", "url", "verdict"),
    [
        ("||example.com/ads/", "http://www.example.com/ads/x.png", True),
        ("||example.com/ads/", "http://example.com.evil.example/ads/", False),
        ("||example.com/ads/", "http://evil.example/?u=//example.com/ads/", False),
        ("example.com/ads", "http://example.com/ads?x=1", True),
        ("-banner-", "http://h.example/x-banner-1.png", True),
        ("-banner-", "http://h.example/x-BANNER-1.png", True),
        ("-banner-$match-case", "http://h.example/x-BANNER-1.png", False),
        ("|http://h.example/x|", "http://h.example/x", True),
        ("|http://h.example/x|", "http://h.example/xy", False),
        ("/track^", "http://h.example/track?id", True),
        ("/track^", "http://h.example/track", True),
        ("/track^", "http://h.example/tracker", False),
        ("/a*z/", "http://h.example/a-to-z/", True),
        (r"/ba[dn]{1}\d/", "http://h.example/BAD7", True),
        ("&adid=", "http://h.example/?x&adid=7", True),
        ("ban*ner", "http://h.example/ban-and-ner", True),
    ],
)
def test_urls(pattern, url, verdict):
    assert blocked([pattern], url.split("/")[2], url) is verdict


def test_the_line_that_decides_is_named_and_broken_lines_are_shown():
    made = BlockList("test", ["! head", "a.example", "b..example", "||c.example^$script", "c.example"])
    finding = made.find("x.c.example")
    assert finding is not None
    assert finding.line == 5
    assert [(complaint.line, complaint.text) for complaint in made.complaints] == [(3, "b..example")]
    assert (made.broken, made.unsupported, len(made)) == (1, 1, 2)


@pytest.mark.parametrize(
    "added", ["plain.example", "||ads.example^", "@@||fine.example^", "/ads/*", "0.0.0.0 h.example", "?"]
)
@pytest.mark.parametrize("at_front", [False, True])
def test_a_line_more_does_not_change_what_all_others_mean(added, at_front):
    """A wildcard list of 122,680 names blocked none of them any more, once its user had added one of his own."""
    for shape, told in (("*.{}.test", "       20 like *.name: read as the name and all below it"),
                        (".{}.test", "       20 like .name: read as the name and all below it")):  # fmt: skip
        lines = [shape.format(f"n{number}") for number in range(20)]
        made = BlockList("wild", [added, *lines] if at_front else [*lines, added])
        assert made.readings == [told]
        for host in ("n7.test", "a.n7.test"):
            finding = made.find(host)
            assert finding is not None
            assert finding.blocked
        assert made.find("n70.test") is None


@pytest.mark.parametrize(
    ("lines", "reading"),
    [
        (["*.a.test", "b.test"], "        1 like *.name: read as what is below the name, not the name"),
        (["*.a.test", "||b.test^"], "        1 like *.name: read as what is below the name, not the name"),
        (
            ["[Adblock Plus 2.0]", "*.a.test", "*.b.test"],
            "        2 like *.name: read as what is below the name, not the name",
        ),
        (["[Adblock Plus 2.0]", ".a.test"], "        1 like .name: read as a part of URLs"),
    ],
)
def test_how_lines_are_read_is_told(lines, reading):
    made = BlockList("mixed", lines)
    assert made.readings == [reading]
    assert made.find("a.test") is None


def test_a_cancelled_wildcard_is_not_read_as_a_name():
    made = BlockList("wild", ["*.a.test", "*.b.test", "*.a.test$badfilter"])
    assert made.find("a.test") is None
    assert made.find("b.test") is not None


def test_a_wildcard_in_a_line_of_a_hosts_file():
    made = BlockList("hosts", ["0.0.0.0 *.a.test", "0.0.0.0 b.test", "0.0.0.0 c.test"])
    assert [made.find(host) is not None for host in ("x.a.test", "b.test", "x.b.test")] == [True, True, False]


PLENTY = 10_000_000

NAMES = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join)
RULES = st.lists(
    st.tuples(NAMES, st.sampled_from(["{}.x", "||{}.x^", "@@||{}.x^", "||{}.x^$important", "0.0.0.0 {}.x", "*.{}.x"])),
    max_size=12,
)


@given(RULES, NAMES)
def test_against_a_naive_twin(rules, host):
    host += ".x"
    lines = [*(f"{number}.y" for number in range(13)), *(shape.format(name) for name, shape in rules)]
    hits = []
    for name, shape in rules:
        itself, below = host == name + ".x", host.endswith(f".{name}.x")
        if (itself and shape[0] != "*") or (below and shape[0] != "0"):
            hits.append(2 if "important" in shape else 1 if shape[0] == "@" else 0)
    expected = None if not hits else max(hits) != 1
    finding = BlockList("test", lines).find(host)
    assert (None if finding is None else finding.blocked) == expected


PATTERNS = st.lists(
    st.one_of(
        st.sampled_from(["||ab.example/", "||b.example/ab", "||example^*b", "|http://ab.example/", "|/", ""]).flatmap(
            lambda front: st.text("ab/.-^*|", max_size=8).map(lambda rest: front + rest)
        ),
        st.text("ab/.-^*|", min_size=3, max_size=12),
    ).filter(lambda pattern: not pattern.startswith("/") or not pattern.endswith("/")),
    max_size=8,
)
URLS = st.tuples(st.sampled_from(["ab.example", "b.ab.example", "bab.example"]), st.text("abAB/.-", max_size=14))


@example(["||*"], ("ab.example", "a"))
@example(["/|*"], ("ab.example", ""))
@example(["*|*^"], ("ab.example", "/Aa"))
@given(PATTERNS, URLS)
def test_no_url_rule_is_missed_for_being_filed_elsewhere(patterns, url):
    """Each is found among the others exactly where a backtracking engine finds it in the whole URL."""
    host, path = url
    whole = f"http://{host}/{path}"
    rules = [URLRule(pattern, match_case=len(pattern) % 2 == 0) for pattern in patterns]
    filed = URLRules()
    for where, rule in enumerate(rules):
        filed.add(rule, where)
    expected = {
        where for where, rule in enumerate(rules) if naive(rule.pattern, rule.match_case).search(whole) is not None
    }
    filed.close()
    text = URLText(whole)
    standing = filed.texts.standing(text.small, Allowance(PLENTY))
    found = filed.matching(host, text, suffixes(host), standing, Allowance(PLENTY))
    assert {each.where for each in found} == expected


ENDS = st.tuples(st.sampled_from(["", "|", "||"]), st.text("ab/.-^*", max_size=8), st.sampled_from(["", "|"]))


@given(ENDS.map("".join).filter(lambda pattern: "^" * 5 not in pattern), URLS, st.booleans())
def test_a_wildcard_holds_where_a_backtracking_engine_finds_it(pattern, url, match_case):
    whole = f"http://{url[0]}/{url[1]}"
    written = pattern if match_case else pattern.lower()
    expected = naive(pattern, match_case).search(whole) is not None
    assert holds(Filed(1, 0, written, match_case, (), ""), URLText(whole), Allowance(PLENTY)) is expected


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("ads*a*a*a*a*a*b^", "ads" + "a" * 400),
        ("a*a*a*a*a*a*a*a*a*b", "a" * 8000),
        ("*/" + "a*" * 200 + "b|", "a" * 8000),
        ("||h.example*" + "^a" * 40 + "b", "/a" * 4000),
        ("a" * 60 + "b" + "a" * 30, "a" * 8000),
        ("&^x^", "??x" * 2700),
        ("/(a+)+$/", "a" * 400 + "!"),
        ("/(a|aa)*b$/", "a" * 400),
        ("/a.*a.*a.*a.*a.*b/", "a" * 400),
        (r"/^http:\/\/(?:[a-z]+\.?)+:9/", "a" * 400),
        ("/[ab]*a[ab]{200}c/", "ab" * 200),
    ],
)
def test_no_url_of_a_page_takes_a_millisecond(line, target):
    """What would take longer is refused."""
    judge = Judge((ListUse(BlockList("test", [line])),))
    subject = Subject("h.example", 80, "tcp", f"http://h.example/{target}")
    took = []
    for _ in range(9):
        start = time.thread_time()
        ruling = judge.judge(subject, datetime.now(UTC))
        took.append(time.thread_time() - start)
        assert ruling in (PASSES, TOO_LONG)
    assert min(took) < 0.001


def test_many_rules_that_a_url_must_be_compared_with_have_one_allowance():
    judge = Judge(
        tuple(
            ListUse(BlockList(name, [f"a*{number}{name}*{name}{name}z" for number in range(3000)]))
            for name in "bcdefghijk"
        )
    )
    subject = Subject("h.example", 80, "tcp", f"http://h.example/{'ab1' * 100}")
    took = []
    for _ in range(5):
        start = time.thread_time()
        ruling = judge.judge(subject, datetime.now(UTC))
        took.append(time.thread_time() - start)
    assert ruling is TOO_LONG
    assert ruling.blocked
    assert min(took) < 0.001


def test_expressions_that_cannot_be_kept_are_counted():
    made = BlockList("test", ["/a(?=b)/", "/(a)\\1/", *(f"/{letter}{{400}}/" for letter in "abcdefghijklmnop"), "/b/"])
    assert made.broken == 0
    assert made.unsupported == 18


HUGE = 10_000_000


@pytest.mark.parametrize(
    "line",
    [
        "a" * HUGE,
        "||" + "a." * (HUGE // 2) + "^",
        "*a" * (HUGE // 2),
        "/" + "a?" * (HUGE // 2) + "/",
        "||x.example^$" + "a," * (HUGE // 2),
        "0.0.0.0 " + "a.example " * (HUGE // 10),
        "||x.example^$denyallow=" + "a.b|" * (HUGE // 4),
        "!#if " + "(" * HUGE,
        "ü" * HUGE,
    ],
    ids=range(9),
)
def test_a_line_of_ten_megabytes_is_broken_and_takes_no_time(line):
    start = time.process_time()
    made = BlockList("test", [line, "fine.example"])
    assert time.process_time() - start < 3
    assert (len(made), made.broken) == (1, 1)
    assert made.find("fine.example")
    assert len(made.complaints[0].text) <= 120


@pytest.mark.parametrize("pattern", [r"/^ads{}[0-9]+x*(a|b)?\.example/", "/(a+)+{}$/", "/(x|xx)*{}[ab]+c/"])
def test_ten_thousand_regular_expressions(pattern):
    """As many as can be tried together are kept, the others are told; and no URL takes a millisecond."""
    few, many = (
        lines_executed(partial(BlockList, "test", [pattern.format(number) for number in range(count)]))
        for count in (200, 2000)
    )
    assert many < 13 * few  # their numbers have more digits, too
    made = BlockList("test", [pattern.format(number) for number in range(10_000)])
    assert len(made) + made.unsupported == 10_000
    assert len(made) > 100
    judge = Judge((ListUse(made),))
    for target in ("a" * 400, "xx" * 400, "ads1" * 100):
        took = []
        for _ in range(9):
            start = time.thread_time()
            judge.judge(Subject("h.example", 80, "tcp", f"http://h.example/{target}"), datetime.now(UTC))
            took.append(time.thread_time() - start)
        assert min(took) < 0.001


def naive(pattern: str, match_case: bool) -> re.Pattern[str]:
    """The regular expression that a pattern means, for an engine that tries all ways, from every place by itself."""
    start = end = ""
    if pattern.endswith("|") and len(pattern) > 1:
        end, pattern = "$", pattern[:-1]
    if pattern.startswith("||"):
        start, pattern = r"^[a-z][a-z0-9+.-]*://(?:[^/?#]*[.@])?", pattern[2:]
    elif pattern.startswith("|"):
        start, pattern = "^", pattern[1:]
    else:
        pattern = pattern.lstrip("*")
    body = re.escape(pattern).replace(r"\*", ".*").replace(r"\^", r"(?:[^\w.%-]|$)")
    return re.compile(start + body + end, 0 if match_case else re.IGNORECASE)


@given(st.text(max_size=80))
def test_no_line_raises(text):
    parse_line(text)


def many_names(count: int) -> list[str]:
    return [f"h{number}.d{number % 977}.example" for number in range(count)]


def test_ten_times_as_many_lines_cost_ten_times_as_much_to_load():
    few, many = (
        lines_executed(partial(BlockList, "large", [f"||{name}^" for name in many_names(count)]))
        for count in (1000, 10_000)
    )
    assert many < 11 * few


def test_a_name_is_found_among_a_hundred_thousand_as_fast_as_among_a_hundred():
    names = many_names(100_000)
    small, large = (BlockList("large", [f"||{name}^" for name in names[:count]]) for count in (100, 100_000))

    def ask(made):
        for name in names[:100]:
            assert made.find(name) is not None

    assert lines_executed(partial(ask, large)) < 2 * lines_executed(partial(ask, small))
    assert times_slower(partial(ask, large), partial(ask, small)) < 10
