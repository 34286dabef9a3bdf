"""Any text as a rule and as a rule set: a value or LocalError in one line; and what was read can be asked."""

from __future__ import annotations

from tunflow.errors import LocalError
from tunflow.rules.conditions import Facts
from tunflow.rules.rule_set import BEHAVIORS, parse_rule_set
from tunflow.rules.syntax import EMPTY, RuleLine, parse_rule
from tunflow.rules.table import RuleTable

SEEDS = [
    b"DOMAIN-SUFFIX,example.com,X",
    b"IP-CIDR,10.0.0.0/8,X,no-resolve",
    b"AND,((NETWORK,udp),(NOT,((DST-PORT,80/443-500))),(DOMAIN-REGEX,^a[0-9]{1,3}$)),REJECT",
    b"DOMAIN-REGEX,(a|b)*c{2,},X",
    b"GEOIP,LAN,X\n",
    b"payload:\n  - '+.example.com'\n  - \"*.example.org\" # x\n  - 10.0.0.0/8\n",
    b"+.example.com\n.example.org\n*.one.org\nexact.org\n",
    "DOMAIN,b\u00fccher.example,X".encode(),
]
_FACTS = [
    Facts("tcp", bytes(4), 1, 80, None, "a.example.com", address_sought=True),
    Facts("udp", bytes(16), 1, 443, bytes(16), None, name_sought=True),
]


def one_line(error: LocalError) -> None:
    """What is wrong must fit on a terminal's line."""
    assert "\n" not in str(error), str(error)


def one_input(data: bytes) -> None:
    """As one rule, and as a list of each behavior."""
    text = data.decode("utf-8", "replace")
    try:
        rule = parse_rule(RuleLine(text, "f", 1), EMPTY)
    except LocalError as error:
        one_line(error)
    else:
        table = RuleTable([rule])
        for facts in _FACTS:
            table.match(facts)
    for behavior in BEHAVIORS:
        try:
            made = parse_rule_set(text, behavior, "f")
        except LocalError as error:
            one_line(error)
        else:
            for facts in _FACTS:
                made.holds(facts)
