from __future__ import annotations

import pytest

from tunflow.errors import LocalError
from tunflow.flow import ProcessInfo
from tunflow.rules.cidr import CIDRSet
from tunflow.rules.conditions import (
    Addresses,
    All,
    Domain,
    DomainSuffix,
    Facts,
    Network,
    Not,
    Ranges,
    RuleSet,
    SourceAddresses,
    TargetPort,
)
from tunflow.rules.domains import DomainSet
from tunflow.rules.rule_set import parse_rule_set
from tunflow.rules.syntax import TYPES, Context, Rule, RuleLine, no_countries, parse_rule

SETS = {"ads": RuleSet(DomainSet(["ad.com"]), CIDRSet())}


def parsed(text: str) -> Rule:
    return parse_rule(RuleLine(text, "my.rules", 3), Context(SETS, no_countries))


def test_values_are_read_as_they_are_meant() -> None:
    assert parsed("domain, Example.COM. , proxy").condition == Domain("example.com")
    assert parsed("DOMAIN-SUFFIX,.Bücher.de,X").condition == DomainSuffix("xn--bcher-kva.de")
    assert parsed("IP-CIDR,10.1.2.3/8,X,no-resolve").condition == Addresses(CIDRSet(["10.0.0.0/8"]), resolve=False)
    assert parsed("IP-CIDR,10.1.2.3,X").condition == Addresses(CIDRSet(["10.1.2.3/32"]))
    assert parsed("SRC-IP-CIDR,fd00::/8,X").condition == SourceAddresses(CIDRSet(["fd00::/8"]))
    assert parsed("DST-PORT,80/8000-8100,X").condition == TargetPort(Ranges(((80, 80), (8000, 8100))))
    assert parsed("FINAL,X").target == "X"
    assert parsed("MATCH,X").line == RuleLine("MATCH,X", "my.rules", 3)


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
        ("DOMAIN,a.com,X,Y", "'y' is not an option; no-resolve and src are"),
        ("DOMAIN,a.com,", "ends with its target"),
        ("DOMAIN,a b,X", "a character that no name has"),
        ("DOMIAN,a.com,X", "'DOMIAN' is not a rule type; DOMAIN, DOMAIN-SUFFIX"),
        ("URL-REGEX,a,X", "URL-REGEX is about what is encrypted here"),
        ("IN-TYPE,SOCKS,X", "IN-TYPE never holds"),
        ("DOMAIN-SUFFIX,*.bank.example,X", "no name ends in .*write DOMAIN-SUFFIX,bank.example,"),
        ("DOMAIN-SUFFIX,+.corp.example,X", "write DOMAIN-SUFFIX,corp.example,"),
        ("DOMAIN-SUFFIX,a.*.example,X", "write DOMAIN-WILDCARD,a.\\*.example,"),
        ("DOMAIN,*.lan.example,X", "write DOMAIN-SUFFIX,lan.example,"),
        ("DOMAIN,a*.example,X", "write DOMAIN-WILDCARD,a\\*.example,"),
        ("DOMAIN,192.0.2.1,X", "write IP-CIDR,192.0.2.1/32,"),
        ("DOMAIN-KEYWORD,*ads*,X", "write DOMAIN-KEYWORD,ads or"),
        ("PROCESS-NAME,/usr/bin/ssh,X", "write PROCESS-PATH,/usr/bin/ssh,"),
        ("PROCESS-PATH,ssh,X", "write PROCESS-NAME,ssh,"),
        ("GEOSITE,cn,X", "there are no names for GEOSITE,cn"),
        ("IP-ASN,13335,X", "there are no addresses for IP-ASN,13335"),
        ("IP-ASN,x,X", "is not the number of an autonomous system"),
        ("IP-CIDR,10.0.0.0/33,X", "does not appear to be an IPv4 or IPv6 network"),
        ("DST-PORT,80-,X", "'80-' is not a number or range"),
        ("DST-PORT,81-80,X", "'81-80' is not a range within 0-65535"),
        ("DST-PORT,65536,X", "not a range within 0-65535"),
        ("NETWORK,icmp,X", "'icmp' is not a network; tcp and udp are"),
        ("DOMAIN-REGEX,(,X", "not a regular expression"),
        ("DOMAIN-KEYWORD,,X", "a keyword is"),
        ("PROCESS-NAME,,X", "no program is named"),
        ("DOMAIN-REGEX,,X", "it is empty, and would be found in everything"),
        ("PROCESS-NAME-REGEX, ,X", "it is empty, and would be found in everything"),
        ("PROCESS-PATH-REGEX,,X", "it is empty, and would be found in everything"),
        ("PROCESS-PATH-WILDCARD,,X", "a wildcard is at least one character"),
        ("GEOSITE,,X", "GEOSITE needs a value"),
        ("GEOIP,,X,no-resolve", "GEOIP needs a value"),
        ("AND,((GEOIP,),(NETWORK,udp)),X", "GEOIP needs a value"),
        ("OR,((DOMAIN-REGEX),(NETWORK,udp)),X", "it is empty"),
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
        ("b c\n", "domain", "f:1: a character that no name has, in 'b c'"),
        ("x y\n", "ipcidr", "f:1: not an IPv4 or IPv6 prefix, in 'x y'"),
        ("DOMAIN,a.com,DIRECT\n", "classical", "f:1: 'direct' is not an option"),
        ("DOMAIN,a.com\n", "domain", 'this is a rule: behavior = "classical"'),
        ("IP-CIDR,10.0.0.0/8\n", "ipcidr", 'this is a rule: behavior = "classical"'),
        ("+.a.com\n", "classical", 'this is a name: behavior = "domain"'),
        ("a.com\n", "classical", 'f:1: .*this is a name: behavior = "domain"'),
        ("10.0.0.0/8\n", "classical", 'this is a prefix: behavior = "ipcidr"'),
        ("payload:\n  a: b\n", "domain", "f:1: payload is a list"),
        ("payload: x\n", "domain", "f:1: payload is a list"),
        ("payload: [{b: c}]\n", "domain", r"f:1: a character that no name has, in '\{b: c\}'"),
        ("payload: [[1.2.3.4]]\n", "ipcidr", r"f:1: not an IPv4 or IPv6 prefix, in '\[1.2.3.4\]'"),
        ("payload: [\n", "domain", "f:2: not valid YAML"),
        ("a", "domains", "'domains' is not a behavior; domain, ipcidr, classical are"),
    ],
)
def test_a_list_of_which_nothing_is_understood_is_named_with_its_line(text: str, behavior: str, why: str) -> None:
    with pytest.raises(LocalError, match=why):
        parse_rule_set(text, behavior, "f")


@pytest.mark.parametrize("behavior", ["domain", "ipcidr", "classical"])
def test_the_advice_of_a_list_is_followed_by_no_other(behavior: str) -> None:
    """Whoever does what the error says has a list that is read."""
    for text in ("DOMAIN,a.com\n", "+.a.com\n", "10.0.0.0/8\n", "2001:db8::/32\n", "*.a.com\n", "GEOIP,LAN\n"):
        try:
            parse_rule_set(text, behavior, "f")
        except LocalError as error:
            parse_rule_set(text, str(error).partition('behavior = "')[2].partition('"')[0], "f")


def test_a_line_that_is_not_understood_leaves_the_others_and_is_told_once() -> None:
    told: list[str] = []
    text = "# media\nDOMAIN-SUFFIX,media.example\nUSER-AGENT,MediaApp*\nIP-CIDR,198.51.100.0/24,no-resolve\nNO,x\n"
    made = parse_rule_set(text, "classical", "media.list", tell=told.append)
    assert names_in(made, "a.media.example", "other.example") == [True, False]
    assert made.others == (Addresses(CIDRSet(["198.51.100.0/24"]), resolve=False),)
    (line,) = told
    assert line.startswith("media.list:3: USER-AGENT is about what is encrypted here")
    assert line.endswith("(and 1 more line of it): left out of the list")


def test_a_country_without_data_is_no_line_to_be_left_out() -> None:
    with pytest.raises(LocalError, match="f:2: there is no country data for US: run tunflow rules update"):
        parse_rule_set("DOMAIN,a.com\nGEOIP,US\n", "classical", "f")


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff+.a.example\n",
        "+.a.example\r\n",
        "---\n+.a.example\n",
        "+.a.example # mine\n",
        "+.a.example // mine\n",
        "  +.a.example  \n",
        "+.A.Example.\n",
        'payload: # mine\n  - "+.a.example"\n',
        "payload:\r\n  - '+.a.example'\r\n",
        "---\npayload:\n- +.a.example # mine\n",
        "payload: ['+.a.example']\n",
        "payload: [\n  '+.a.example',\n]\n",
        "  payload:\n    - +.a.example\n",
        "name: x\npayload:\n- +.a.example\n",
        "payload:\n- +.a.example\nversion: 1\n",
        "payload:\n- !!str +.a.example\n- '+.a.example'\n",
    ],
)
def test_the_forms_of_real_lists(text: str) -> None:
    told: list[str] = []
    made = parse_rule_set(text, "domain", "f", tell=told.append)
    assert made.domains == DomainSet(suffixes=["a.example"])
    assert not told or "!!str" in text


def test_surges_domain_set_means_below_by_a_dot() -> None:
    made = parse_rule_set(".a.example\nb.example\n", "domain-set", "f")
    assert names_in(made, "a.example", "x.a.example", "b.example", "x.b.example") == [True, True, True, False]


@pytest.mark.parametrize(
    ("text", "held", "not_held"),
    [
        ("DOMAIN-WILDCARD,*.a?.example,X", "x.y.ab.example", "x.abc.example"),
        ("DOMAIN-SUFFIX,A.example.,X", "b.a.example", "ba.example"),
    ],
)
def test_more_rules_on_names(text: str, held: str, not_held: str) -> None:
    condition = parsed(text).condition
    assert condition.holds(Facts("tcp", bytes(4), 1, 443, None, held)) is True
    assert condition.holds(Facts("tcp", bytes(4), 1, 443, None, not_held)) is False


def test_rules_on_programs() -> None:
    process = ProcessInfo(executable="/opt/App/bin/tool-7", name="tool-7")
    facts = Facts("tcp", bytes(4), 1, 443, bytes(4), find_process=lambda: process)
    for text in ("NAME-REGEX,^tool-[0-9]$", "NAME-WILDCARD,tool-?", "PATH-REGEX,^/opt/", "PATH-WILDCARD,/opt/*/tool*"):
        assert parsed(f"PROCESS-{text},X").condition.holds(facts) is True
    assert parsed("PROCESS-NAME-REGEX,^opt,X").condition.holds(facts) is False


def test_surges_and_clashs_words_behind_a_rule() -> None:
    assert parsed("FINAL,a,dns-failed").target == "a"
    assert parsed("DOMAIN,x.example,a,extended-matching").target == "a"
    assert parsed("DEST-PORT,443,a").condition == parsed("DST-PORT,443,a").condition
    source = parsed("IP-CIDR,10.0.0.0/8,a,no-resolve,src").condition
    assert source.holds(Facts("tcp", bytes([10, 0, 0, 1]), 1, 443, bytes(4))) is True
    assert source.holds(Facts("tcp", bytes(4), 1, 443, bytes([10, 0, 0, 1]))) is False


@pytest.mark.parametrize(
    ("rule", "address", "is_in"),
    [
        ("IP-SUFFIX,8.8.8.8/24,X", [1, 8, 8, 8], True),
        ("IP-SUFFIX,8.8.8.8/24,X", [1, 8, 8, 9], False),
        ("IP-SUFFIX,0.0.0.1/1,X", [1, 2, 3, 5], True),
        ("IP-SUFFIX,::1/64,X", [1, 0, 0, 1], False),
    ],
)
def test_ends_of_addresses(rule: str, address: list[int], is_in: bool) -> None:
    condition = parsed(rule).condition
    assert isinstance(condition, Addresses)
    assert (bytes(address) in condition.addresses) is is_in
    client = parsed(f"SRC-{rule}").condition
    assert isinstance(client, SourceAddresses)
    assert client.addresses == condition.addresses


@pytest.mark.parametrize("value", ["8.8.8.8", "8.8.8.8/33", "8.8.8.8/x", "x/8", "/8"])
def test_what_is_no_end_of_an_address(value: str) -> None:
    with pytest.raises(LocalError, match=r"my\.rules:3: "):
        parsed(f"IP-SUFFIX,{value},X")


def test_clients_of_a_country() -> None:
    found = parse_rule(
        RuleLine("SRC-GEOIP,CN,X", "my.rules", 3), Context({}, lambda _: CIDRSet(["1.0.0.0/8"]))
    ).condition
    assert found == SourceAddresses(CIDRSet(["1.0.0.0/8"]))
