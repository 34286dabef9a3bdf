from __future__ import annotations

import random
from functools import partial
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cost import lines_executed, times_slower
from tunflow.flow import ProcessInfo
from tunflow.rules.cidr import CIDRSet
from tunflow.rules.conditions import Facts, Need
from tunflow.rules.rule_set import parse_rule_set
from tunflow.rules.syntax import Context, Rule, no_countries
from tunflow.rules.table import RuleTable, Verdict
from tunflow.testing.rule_lines import parse_rules

CURL = ProcessInfo(pid=7, executable="/usr/bin/curl", name="curl", uid=1000)


def facts(
    name: str | None = None,
    address: str | None = None,
    *,
    network: str = "tcp",
    port: int = 443,
    process: ProcessInfo | None = None,
    sought: bool = False,
) -> Facts:
    packed = None if address is None else ip_address(address).packed
    return Facts(
        network,
        ip_address("198.18.0.2").packed,
        40000,
        port,
        packed,
        name,
        name_sought=sought,
        address_sought=sought,
        find_process=lambda: process,
    )


def context() -> Context:
    return Context(
        {
            "ads": parse_rule_set("+.ads.com\nexact.org\n*.wild.org\n", "domain", "ads.txt"),
            "nets": parse_rule_set("10.2.0.0/16\n2001:db8:2::/48\n", "ipcidr", "nets.txt"),
            "mixed": parse_rule_set(
                "DOMAIN-KEYWORD,track\nIP-CIDR,10.3.0.0/16,no-resolve\nDST-PORT,25\n", "classical", "m"
            ),
        },
        lambda code: CIDRSet(["10.9.0.0/16"]) if code == "CN" else no_countries(code),
    )


def table(*lines: str) -> RuleTable:
    return RuleTable(parse_rules(lines, "rules.txt", context()))


def naive(rules: list[Rule], asked: Facts) -> Verdict | Need | None:
    """One after the other, as the documentation of Surge and Clash says."""
    for rule in rules:
        answer = rule.condition.holds(asked)
        if isinstance(answer, Need):
            return answer
        if answer:
            return Verdict(rule.target, rule.line.file, rule.line.number, rule.line.text)
    return None


LINES = st.sampled_from(
    [
        "DOMAIN,a.com",
        "DOMAIN,x.a.com",
        "DOMAIN-SUFFIX,a.com",
        "DOMAIN-SUFFIX,com",
        "DOMAIN-KEYWORD,x",
        "DOMAIN-REGEX,^y[,.]",
        "IP-CIDR,10.0.0.0/8",
        "IP-CIDR,10.1.0.0/16,no-resolve",
        "IP-CIDR,10.1.2.0/24",
        "IP-CIDR6,2001:db8::/32",
        "GEOIP,CN",
        "GEOIP,LAN",
        "SRC-IP-CIDR,198.18.0.0/24",
        "DST-PORT,80/1000-2000",
        "SRC-PORT,40000",
        "NETWORK,udp",
        "PROCESS-NAME,Curl",
        "PROCESS-PATH,/usr/bin/curl",
        "UID,0-999",
        "RULE-SET,ads",
        "RULE-SET,nets",
        "RULE-SET,nets,no-resolve",
        "RULE-SET,mixed",
        "AND,((DOMAIN-SUFFIX,com),(DST-PORT,80))",
        "OR,((IP-CIDR,10.0.0.0/8),(NETWORK,udp))",
        "NOT,((RULE-SET,ads))",
        "MATCH",
    ]
)


def with_target(line: str, number: int) -> str:
    """Gives each rule a target of its own, in front of the option."""
    rest, separator, option = line.partition(",no-resolve")
    return f"{rest},t{number}{separator}{option}"


@settings(max_examples=400)
@given(
    lines=st.lists(LINES, max_size=10),
    name=st.sampled_from([None, "a.com", "x.a.com", "y.org", "exact.org", "q.ads.com", "w.wild.org", "tracks.de"]),
    address=st.sampled_from([None, "10.1.2.3", "10.2.0.1", "10.3.0.1", "10.9.0.1", "8.8.8.8", "2001:db8:2::1", "::1"]),
    network=st.sampled_from(["tcp", "udp"]),
    port=st.sampled_from([25, 80, 443, 1500]),
    process=st.sampled_from([None, CURL, ProcessInfo(uid=5)]),
    sought=st.booleans(),
)
def test_decides_like_asking_rule_after_rule(
    lines: list[str],
    name: str | None,
    address: str | None,
    network: str,
    port: int,
    process: ProcessInfo | None,
    sought: bool,
) -> None:
    rules = list(parse_rules([with_target(line, n) for n, line in enumerate(lines)], "rules.txt", context()))
    asked = facts(name, address, network=network, port=port, process=process, sought=sought)
    assert RuleTable(rules).match(asked) == naive(rules, asked)


def test_the_verdict_names_file_line_and_text() -> None:
    made = table("# first", "DOMAIN,a.com,one", "", "MATCH,two")
    assert made.match(facts("a.com")) == Verdict("one", "rules.txt", 2, "DOMAIN,a.com,one")
    assert made.match(facts("b.com")) == Verdict("two", "rules.txt", 4, "MATCH,two")
    assert made.targets == ["one", "two"]
    assert len(made) == 2


def test_a_flow_known_by_name_is_resolved_only_for_a_rule_that_could_decide() -> None:
    before = table("DOMAIN,a.com,one", "IP-CIDR,10.0.0.0/8,two", "MATCH,three")
    assert before.match(facts("a.com")) == before.verdict(0)
    assert before.match(facts("b.com")) is Need.ADDRESS
    assert before.match(facts("b.com", "10.0.0.1")) == before.verdict(1)
    assert before.match(facts("b.com", sought=True)) == before.verdict(2)
    without = table("IP-CIDR,10.0.0.0/8,two,no-resolve", "MATCH,three")
    assert without.match(facts("b.com")) == without.verdict(1)


def test_a_name_is_sought_only_for_a_rule_that_could_decide() -> None:
    made = table("IP-CIDR,10.0.0.0/8,one", "DOMAIN,a.com,two", "MATCH,three")
    assert made.match(facts(address="10.0.0.1")) == made.verdict(0)
    assert made.match(facts(address="8.8.8.8")) is Need.NAME
    assert made.match(facts(address="8.8.8.8", sought=True)) == made.verdict(2)
    ported = table("AND,((DOMAIN,a.com),(DST-PORT,80)),one", "MATCH,two")
    assert ported.match(facts(address="8.8.8.8", port=443)) == ported.verdict(1)


def test_a_process_is_looked_up_only_by_a_rule_that_is_reached() -> None:
    def never() -> ProcessInfo:
        raise AssertionError("looked up in vain")

    made = table("DOMAIN,a.com,one", "PROCESS-NAME,curl,two", "MATCH,three")
    asked = facts("a.com")
    asked.find_process = never
    assert made.match(asked) == made.verdict(0)
    assert made.match(facts("b.com", process=CURL)) == made.verdict(1)
    assert made.match(facts("b.com", process=ProcessInfo(name="curl"))) == made.verdict(1)
    assert made.match(facts("b.com")) == made.verdict(2)


def test_no_rules_decide_nothing() -> None:
    assert table().match(facts("a.com")) is None


def many_rules(count: int, kinds: int) -> list[str]:
    """Rules on names, and where there are two kinds every tenth on addresses, so that no run of one kind is long."""
    rng = random.Random(1)
    lines = [f"DOMAIN-SUFFIX,{rng.getrandbits(40):x}.example{n % 50}.com,T{n % 3}" for n in range(count)]
    if kinds == 2:
        lines[::10] = [f"IP-CIDR,{ip_address(rng.getrandbits(32))}/24,T1,no-resolve" for _ in lines[::10]]
    return [*lines, "MATCH,T9"]


@pytest.mark.parametrize("kinds", [1, 2])
def test_ten_times_as_many_rules_cost_ten_times_as_much_to_load(kinds: int) -> None:
    few, many = (
        lines_executed(partial(lambda lines: RuleTable(parse_rules(lines, "rules.txt")), many_rules(count, kinds)))
        for count in (1000, 10_000)
    )
    assert many < 11 * few


@pytest.mark.parametrize("kinds", [1, 2])
def test_a_flow_is_matched_with_a_hundred_thousand_rules_as_fast_as_with_a_hundred(kinds: int) -> None:
    small, large = (RuleTable(parse_rules(many_rules(count, kinds), "rules.txt")) for count in (100, 100_000))
    hit = facts("a.b." + many_rules(100_000, kinds)[77_777].split(",")[1])
    found = large.match(hit)
    assert isinstance(found, Verdict)
    assert found.line == 77_778
    asked = [facts("www.nothing.to.see.example1.com"), hit, facts("example.org", "8.8.8.8")]

    def ask(made: RuleTable) -> None:
        for one in asked:
            made.match(one)

    assert lines_executed(partial(ask, large)) < 2 * lines_executed(partial(ask, small))
    assert times_slower(partial(ask, large), partial(ask, small)) < 10
