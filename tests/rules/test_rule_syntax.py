from __future__ import annotations

import pytest

from tunflow.errors import LocalError
from tunflow.rules.cidr import CIDRSet
from tunflow.rules.conditions import (
    Addresses,
    All,
    Domain,
    DomainSuffix,
    Network,
    Not,
    Ranges,
    RuleSet,
    SourceAddresses,
    TargetPort,
)
from tunflow.rules.domains import DomainSet
from tunflow.rules.rule_set import parse_rule_set
from tunflow.rules.syntax import TYPES, Context, Line, Rule, no_countries, parse_rule

SETS = {"ads": RuleSet(DomainSet(["ad.com"]), CIDRSet())}


def parsed(text: str) -> Rule:
    return parse_rule(Line(text, "my.rules", 3), Context(SETS, no_countries))


def test_values_are_read_as_they_are_meant() -> None:
    assert parsed("domain, Example.COM. , proxy").condition == Domain("example.com")
    assert parsed("DOMAIN-SUFFIX,.Bücher.de,X").condition == DomainSuffix("xn--bcher-kva.de")
    assert parsed("IP-CIDR,10.1.2.3/8,X,no-resolve").condition == Addresses(CIDRSet(["10.0.0.0/8"]), resolve=False)
    assert parsed("IP-CIDR,10.1.2.3,X").condition == Addresses(CIDRSet(["10.1.2.3/32"]))
    assert parsed("SRC-IP-CIDR,fd00::/8,X").condition == SourceAddresses(CIDRSet(["fd00::/8"]))
    assert parsed("DST-PORT,80/8000-8100,X").condition == TargetPort(Ranges(((80, 80), (8000, 8100))))
    assert parsed("FINAL,X").target == "X"
    assert parsed("MATCH,X").line == Line("MATCH,X", "my.rules", 3)


def test_logic_nests() -> None:
    rule = parsed("AND,((NETWORK,UDP),(NOT,((DOMAIN,a.com)))),REJECT")
    assert rule.condition == All((Network("udp"), Not(Domain("a.com"))))
    assert rule.target == "REJECT"


def test_a_rule_set_without_resolving_is_the_same_set() -> None:
    without = parsed("RULE-SET,ads,X,no-resolve").condition
    assert without == SETS["ads"].without_resolving()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("DOMAIN", "a rule is DOMAIN,VALUE,TARGET"),
        ("DOMAIN,a.com", "a rule is DOMAIN,VALUE,TARGET"),
        ("DOMAIN,a.com,X,Y", "'Y' is not an option; no-resolve is"),
        ("DOMAIN,a.com,", "ends with its target"),
        ("DOMAIN,a b,X", "a character that no name has"),
        ("DOMIAN,a.com,X", "'DOMIAN' is not a rule type; DOMAIN, DOMAIN-SUFFIX"),
        ("URL-REGEX,a,X", "'URL-REGEX' is not a rule type"),
        ("IP-CIDR,10.0.0.0/33,X", "does not appear to be an IPv4 or IPv6 network"),
        ("DST-PORT,80-,X", "'80-' is not a number or range"),
        ("DST-PORT,81-80,X", "'81-80' is not a range within 0-65535"),
        ("DST-PORT,65536,X", "not a range within 0-65535"),
        ("NETWORK,icmp,X", "'icmp' is not a network; tcp and udp are"),
        ("DOMAIN-REGEX,(,X", "not a regular expression"),
        ("DOMAIN-KEYWORD,,X", "a keyword is"),
        ("PROCESS-NAME,,X", "no program is named"),
        ("RULE-SET,ad,X", "there is no rule set 'ad'; there are: ads"),
        ("GEOIP,CN,X", "run tunflow rules update"),
        ("MATCH", "ends with its target"),
        ("MATCH,a,b", "'b' is not an option"),
        ("AND,(DOMAIN,a.com),X", "each is in brackets of its own"),
        ("AND,DOMAIN,a.com,X", "in brackets, as AND"),
        ("AND,((DOMAIN,a.com),X", "the brackets do not match"),
        ("OR,(),X", "there is no condition"),
        ("NOT,((DOMAIN,a.com),(DOMAIN,b.com)),X", "NOT takes one condition"),
        ("NOT,((DOMAIN,a.com,what)),X", "'what' is not an option"),
        ("NOT,((" * 20 + "DOMAIN,a.com" + "))" * 20 + ",X", "nested deeper"),
        ("", "'' is not a rule type|a rule is"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(text: str, why: str) -> None:
    with pytest.raises(LocalError, match=rf"my\.rules:3: .*({why})"):
        parsed(text)


def test_the_types_are_told() -> None:
    assert {"DOMAIN", "GEOIP", "RULE-SET", "AND", "MATCH"} <= set(TYPES)


def names_in(made: RuleSet, *names: str) -> list[bool]:
    from tunflow.rules.conditions import Facts

    return [made.holds(Facts("tcp", bytes(4), 1, 443, None, name, address_sought=True)) is True for name in names]


def test_a_domain_list_has_four_kinds_of_entries() -> None:
    text = "# list\nexact.org\n+.all.org\n.below.org\n*.one.org\n"
    made = parse_rule_set(text, "domain", "f")
    assert names_in(made, "exact.org", "a.exact.org", "all.org", "a.all.org") == [True, False, True, True]
    assert names_in(made, "below.org", "a.b.below.org", "a.one.org", "a.b.one.org") == [False, True, True, False]


def test_yaml_and_text_say_the_same() -> None:
    text = "example.com\n+.example.org\n"
    yaml = "# made by\npayload:\n  - 'example.com'   # one\n  - \"+.example.org\"\n"
    assert parse_rule_set(yaml, "domain", "f") == parse_rule_set(text, "domain", "f")
    assert parse_rule_set("payload: []\n", "ipcidr", "f") == parse_rule_set("", "ipcidr", "f")
    assert parse_rule_set("payload:\n- 10.0.0.0/8\n", "ipcidr", "f").addresses == CIDRSet(["10.0.0.0/8"])


def test_a_classical_list_keeps_no_resolve() -> None:
    made = parse_rule_set("IP-CIDR,10.0.0.0/8,no-resolve\nIP-CIDR,11.0.0.0/8\nDOMAIN,a.com\n", "classical", "f")
    assert made.addresses == CIDRSet(["11.0.0.0/8"])
    assert made.others == (Addresses(CIDRSet(["10.0.0.0/8"]), resolve=False),)


@pytest.mark.parametrize(
    ("text", "behavior", "why"),
    [
        ("a.com\nb c\n", "domain", "f:2: a character that no name has, in 'b c'"),
        ("10.0.0.0/8\nx\n", "ipcidr", "f:2: not an IPv4 or IPv6 prefix"),
        ("DOMAIN,a.com\nDOMAIN,a.com,DIRECT\n", "classical", "f:2: 'DIRECT' is not an option"),
        ("payload:\n  a: b\n", "domain", "f:2: what follows payload"),
        ("payload: [a]\n", "domain", "f:1: a rule set in YAML has the key payload"),
        ("a", "domains", "'domains' is not a behavior; domain, ipcidr, classical are"),
    ],
)
def test_a_broken_list_is_named_with_its_line(text: str, behavior: str, why: str) -> None:
    with pytest.raises(LocalError, match=why):
        parse_rule_set(text, behavior, "f")
