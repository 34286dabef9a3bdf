"""The two tables of who is believed, case by case, in the words of their descriptions (PROTOCOLS of ChinaDNS 1.3.2 and
chinadns-ng 2025.08.09)."""

from __future__ import annotations

import pytest
from dns_world import packed, parsed, query, reply

from tunflow.dns.answers import AAAA, MOST_ADDRESSES, A
from tunflow.dns.chinadns import DELAY, DOMESTIC, FOREIGN, ChinaDNS, ReplyVerdict, judge
from tunflow.dns.chinadns_ng import HOLD, ChinaDNSNG, Verdicts
from tunflow.dns.selection import Routes

CN, CN2, ABROAD, ABROAD2, BAD = "1.0.1.1", "1.0.2.2", "203.0.113.1", "203.0.113.2", "243.185.187.39"
MX = 15


def in_china(address: bytes) -> bool:
    return address[:2] == bytes([1, 0]) or address[:4] == bytes([0x24, 0, 0x32, 0])


def blacklisted(address: bytes) -> bool:
    return address == packed(BAD)[0]


PLAIN = ChinaDNS(in_china, blacklisted)
BIDIRECTIONAL = ChinaDNS(in_china, blacklisted, bidirectional=True)
MUTATION = ChinaDNS(in_china, blacklisted, mutation=True)
P, W, D = ReplyVerdict.PASS, ReplyVerdict.DELAY, ReplyVerdict.DROP

TABLE = [
    # reply's addresses                  foreign, domestic | with -d | with -m
    ((), (W, W), (W, W), (P, D)),
    ((BAD,), (D, D), (D, D), (P, D)),
    ((ABROAD, BAD), (D, D), (D, D), (P, D)),
    ((CN, BAD), (D, D), (D, D), (P, D)),
    ((CN,), (W, W), (D, W), (P, P)),
    ((CN, CN2), (P, P), (D, P), (P, P)),
    ((ABROAD,), (W, D), (W, D), (P, D)),
    ((ABROAD, ABROAD2), (P, D), (P, D), (P, D)),
    ((CN, ABROAD), (P, D), (D, D), (P, D)),
    (("b.test",), (W, W), (W, W), (P, P)),
    (("b.test", CN), (P, P), (D, P), (P, P)),
    (("b.test", ABROAD), (P, D), (P, D), (P, D)),
    (("b.test", "c.test"), (P, P), (P, P), (P, P)),
    (("2001:db8::1",), (P, P), (P, P), (P, P)),
    (("2001:db8::1", BAD), (P, P), (P, P), (P, P)),
]


@pytest.mark.parametrize(("addresses", "plain", "bidirectional", "mutation"), TABLE)
def test_the_original_table(addresses, plain, bidirectional, mutation):
    for options, expected in ((PLAIN, plain), (BIDIRECTIONAL, bidirectional), (MUTATION, mutation)):
        judged = tuple(judge(reply(group, *addresses).answer, group, options)[0] for group in (FOREIGN, DOMESTIC))
        assert judged == expected


@pytest.mark.parametrize(("addresses", "verdict"), [((), W), ((CN,), W), ((ABROAD, ABROAD2), P), ((BAD, CN), D)])
def test_a_server_of_neither_side_is_not_judged_by_place(addresses, verdict):
    assert judge(reply(DOMESTIC, *addresses).answer, None, BIDIRECTIONAL)[0] is verdict


def test_a_reverse_name_passes():
    answer = parsed(query("1.0.0.127.in-addr.arpa", "PTR"), "1.0.0.127.in-addr.arpa 60 PTR localhost.")
    assert judge(answer, DOMESTIC, PLAIN)[0] is P


def test_a_delayed_reply_is_taken_when_nothing_better_comes():
    selection = PLAIN.select("a.test", A, 0.0)
    assert selection.groups == (DOMESTIC, FOREIGN)
    first, second = reply(FOREIGN, ABROAD), reply(FOREIGN, ABROAD2)
    selection.heard(first, 1.0)
    assert (selection.chosen, selection.due) == (None, 1.0 + DELAY)
    selection.heard(second, 1.2)  # the newest of them, and its time starts anew
    assert selection.due == 1.2 + DELAY
    selection.expire(1.2 + DELAY)
    assert selection.chosen is second


def test_an_injected_reply_loses_to_the_real_one():
    selection = PLAIN.select("a.test", A, 0.0)
    selection.heard(reply(FOREIGN, "198.51.100.66"), 0.01)
    selection.heard(reply(FOREIGN, BAD), 0.02)
    selection.heard(reply(DOMESTIC, "198.51.100.66"), 0.03)
    real = reply(FOREIGN, "b.test", ABROAD)
    selection.heard(real, 0.2)
    assert selection.chosen is real
    assert [step.verdict for step in selection.steps] == ["delayed", "dropped", "dropped", "taken"]


def test_with_nobody_left_the_delayed_reply_is_taken_at_once():
    selection = PLAIN.select("a.test", A, 0.0)
    held = reply(FOREIGN, ABROAD)
    selection.heard(held, 0.0)
    selection.ended(FOREIGN, 0.1)
    assert not selection.over
    selection.ended(DOMESTIC, 0.1)
    assert selection.chosen is held


def test_when_all_are_dropped_there_is_no_answer():
    selection = PLAIN.select("a.test", A, 0.0)
    selection.heard(reply(DOMESTIC, ABROAD), 0.0)
    for group in selection.groups:
        selection.ended(group, 0.1)
    assert selection.over
    assert selection.chosen is None


NG = ChinaDNSNG(
    in_china,
    domestic_name=lambda name: name in {"baidu.test", "both.test"},
    foreign_name=lambda name: name in {"wall.test", "both.test"},
    blacklisted=blacklisted,
)


@pytest.mark.parametrize(
    ("name", "kind", "groups"),
    [
        ("baidu.test", A, (DOMESTIC,)),
        ("wall.test", A, (FOREIGN,)),
        ("both.test", AAAA, (FOREIGN,)),  # the foreign list goes first
        ("other.test", A, (DOMESTIC, FOREIGN)),
        ("other.test", MX, (FOREIGN,)),
    ],
)
def test_the_refined_table_asks(name, kind, groups):
    assert NG.select(name, kind, 0.0).groups == groups


ORDERS = [
    # (group, addresses…) in order of arrival, and whose reply is taken after which of them
    ([(DOMESTIC, CN)], 0),
    ([(DOMESTIC, CN, ABROAD)], 0),  # the first address is what counts
    ([(DOMESTIC, ABROAD, CN), (FOREIGN, ABROAD2)], 1),
    ([(FOREIGN, CN2), (DOMESTIC, ABROAD)], 0),  # a trusted reply is never tested
    ([(FOREIGN, ABROAD), (DOMESTIC, CN)], 1),  # and waits for the domestic one
    ([(DOMESTIC,), (FOREIGN, ABROAD)], 1),  # no address: not taken
    ([(DOMESTIC, BAD), (DOMESTIC, CN)], 1),
    ([(FOREIGN, BAD), (DOMESTIC, ABROAD), (FOREIGN, ABROAD2)], 2),
    ([(DOMESTIC, ABROAD), (DOMESTIC, CN), (FOREIGN, ABROAD2)], 2),  # what was rejected does not come back
    ([(DOMESTIC, "b.test", CN)], 0),
]


@pytest.mark.parametrize(("arrivals", "taken"), ORDERS)
def test_the_refined_table_takes(arrivals, taken):
    selection = ChinaDNSNG(in_china, blacklisted=blacklisted).select("other.test", A, 0.0)
    replies = [reply(group, *addresses) for group, *addresses in arrivals]
    for number, each in enumerate(replies):
        assert selection.chosen is None, number
        selection.heard(each, 0.1 * number)
    assert selection.chosen is replies[taken]


def test_the_first_reply_is_taken_for_other_types():
    selection = NG.select("other.test", MX, 0.0)
    first = reply(FOREIGN)
    selection.heard(first, 0.0)
    assert selection.chosen is first


def test_an_empty_domestic_reply_is_taken_where_that_is_asked_for():
    selection = ChinaDNSNG(in_china, accept_empty=True).select("other.test", A, 0.0)
    empty = reply(DOMESTIC)
    selection.heard(empty, 0.0)
    assert selection.chosen is empty


def test_a_silent_domestic_group_leaves_the_trusted_reply():
    for silent in (lambda each: each.ended(DOMESTIC, 1.0), lambda each: each.expire(each.due)):
        selection = NG.select("other.test", A, 0.0)
        trusted = reply(FOREIGN, ABROAD)
        selection.heard(trusted, 0.1)
        assert selection.due == 0.1 + HOLD
        silent(selection)
        assert selection.chosen is trusted
    selection = NG.select("other.test", A, 0.0)
    selection.ended(DOMESTIC, 1.0)
    selection.heard(trusted, 1.1)
    assert selection.chosen is trusted


def test_a_verdict_is_remembered():
    options = ChinaDNSNG(in_china)
    options.select("in.test", A, 0.0).heard(reply(DOMESTIC, CN), 0.0)
    options.select("out.test", A, 0.0).heard(reply(DOMESTIC, ABROAD), 0.0)
    assert options.select("in.test", A, 1.0).groups == (DOMESTIC,)
    assert options.select("out.test", A, 1.0).groups == (FOREIGN,)
    assert options.select("out.test", AAAA, 1.0).groups == (DOMESTIC, FOREIGN)


def remembered() -> ChinaDNSNG:
    options = ChinaDNSNG(in_china)
    options.select("in.test", A, 0.0).heard(reply(DOMESTIC, CN), 0.0)
    options.select("out.test", A, 0.0).heard(reply(DOMESTIC, ABROAD), 0.0)
    return options


def test_another_network_has_names_judged_again():
    options = remembered()
    Routes((), options).network_changed()
    for name in ("in.test", "out.test"):
        assert options.select(name, A, 1.0).groups == (DOMESTIC, FOREIGN)


@pytest.mark.parametrize(("name", "side"), [("in.test", DOMESTIC), ("out.test", FOREIGN)])
def test_a_side_that_does_not_answer_has_both_asked_the_next_time(name, side):
    options = remembered()
    selection = options.select(name, A, 1.0)
    assert selection.groups == (side,)
    selection.ended(side, 2.0)
    assert selection.chosen is None, "what the other side says is not asked for behind its back"
    assert options.select(name, A, 3.0).groups == (DOMESTIC, FOREIGN)


def test_a_domestic_name_that_is_answered_from_outside_now_is_not_believed():
    options = remembered()
    selection = options.select("in.test", A, 1.0)
    selection.heard(reply(DOMESTIC, ABROAD), 1.1)
    assert selection.chosen is None
    assert options.select("in.test", A, 2.0).groups == (DOMESTIC, FOREIGN)
    selection = options.select("out.test", A, 1.0)
    foreign = reply(FOREIGN, CN2)
    selection.heard(foreign, 1.1)
    assert selection.chosen is foreign, "what is trusted is not tested"


def test_verdicts_are_bounded():
    verdicts = Verdicts(2)
    for number in range(3):
        verdicts.put(f"n{number}", A, True)
    assert [verdicts.find(f"n{number}", A) for number in range(3)] == [None, True, True]


@pytest.mark.parametrize(
    ("tags", "hidden"), [((), ()), (("chn",), ("baidu.test",)), (("gfw", "none"), ("wall.test", "other.test"))]
)
def test_no_aaaa(tags, hidden):
    options = ChinaDNSNG(in_china, NG.domestic_name, NG.foreign_name, no_aaaa=frozenset(tags))
    names = ("baidu.test", "wall.test", "other.test")
    assert tuple(name for name in names if options.hides(name, AAAA)) == tuple(n for n in names if n in hidden)
    assert not any(options.hides(name, A) for name in names)


def test_replies_without_end_are_not_remembered_without_end():
    selection = PLAIN.select("a.test", A, 0.0)
    for _ in range(MOST_ADDRESSES):
        selection.heard(reply(DOMESTIC, ABROAD), 0.0)
    assert len(selection.steps) <= 64
