"""Rule sets of sing-box: JSON source and the packed form, each rule with its "any" and "all"."""

from __future__ import annotations

import json
import zlib

import pytest
from srs_writer import logical, numbers, packed, ranges, rule, texts, tree

from tunflow.errors import BadPacket, LocalError
from tunflow.rules.conditions import Facts, Need
from tunflow.rules.rule_set import parse_rule_set
from tunflow.rules.srs import rules_untrusted
from tunflow.tunnel.rule_data import list_text


def flow(name: str | None = None, address: str | None = None, port: int = 443, network: str = "tcp") -> Facts:
    return Facts(
        network=network,
        source=bytes([10, 0, 0, 1]),
        source_port=50000,
        port=port,
        name=name,
        name_sought=True,
        address=None if address is None else bytes(map(int, address.split("."))),
        address_sought=True,
    )


def source(*rules: dict) -> str:
    return json.dumps({"version": 2, "rules": list(rules)})


def held(text: str, facts: Facts) -> bool:
    answer = parse_rule_set(text, "sing-box", "list.json").holds(facts)
    assert not isinstance(answer, Need)
    return answer


@pytest.mark.parametrize(
    ("rules", "facts", "is_in"),
    [
        ([{"domain": "a.com"}], flow("a.com"), True),
        ([{"domain": "a.com"}], flow("x.a.com"), False),
        ([{"domain_suffix": ["a.com"]}], flow("x.a.com"), True),
        ([{"domain_suffix": [".a.com"]}], flow("a.com"), False),
        ([{"domain_suffix": [".a.com"]}], flow("y.x.a.com"), True),
        ([{"domain_keyword": "word"}], flow("my-words.com"), True),
        ([{"domain_regex": "^ads?\\."}], flow("ad.a.com"), True),
        ([{"domain": "a.com", "ip_cidr": ["192.0.2.0/24"]}], flow(None, "192.0.2.7"), True),
        ([{"domain": "a.com", "port": [80, 8080]}], flow("a.com"), False),
        ([{"domain": "a.com", "port": 80, "port_range": "400:"}], flow("a.com"), True),
        ([{"domain": "a.com", "network": "udp"}], flow("a.com"), False),
        ([{"network": ["udp", "tcp"]}], flow("a.com"), True),
        ([{"domain": "a.com", "invert": True}], flow("a.com"), False),
        ([{"domain": "a.com"}, {"domain_suffix": "b.com", "port": 443}], flow("b.com"), True),
        (
            [{"type": "logical", "mode": "and", "rules": [{"domain": "a.com"}, {"port": 443, "invert": True}]}],
            flow("a.com"),
            False,
        ),
        ([{"type": "logical", "mode": "or", "rules": [{"domain": "a.com"}, {"port": 443}]}], flow("b.com"), True),
    ],
)
def test_a_rule_of_json_holds(rules: list[dict], facts: Facts, is_in: bool) -> None:
    assert held(source(*rules), facts) is is_in


def test_the_packed_list_says_what_its_source_says() -> None:
    content = packed(
        rule((2, tree(["a.com", "\nbelow.com", "\r.only.com"])), (3, texts(["word"])), (6, ranges(["192.0.2.0/24"]))),
        rule((2, tree(["port.com"])), (9, numbers([80, 443])), (10, texts(["1000:2000"])), (1, texts(["tcp"]))),
        logical(0, rule((9, numbers([53]))), rule((1, texts(["udp"])), invert=True), invert=False),
        rule((16, tree(["\nads.com", "\rtrack*\b", "exact.com"]))),
        rule((5, ranges(["2001:db8::/32", "10.0.0.0/8"])), (11, texts(["curl"])), (17, texts(["^/usr"]))),
    )
    rules = rules_untrusted(content)
    assert rules[0] == {
        "domain": ["a.com"], "domain_suffix": ["below.com", ".only.com"], "domain_keyword": ["word"],
        "ip_cidr": ["192.0.2.0/24"], "invert": False,
    }  # fmt: skip
    assert rules[1]["port"] == [80, 443]
    assert rules[1]["port_range"] == ["1000:2000"]
    assert rules[2] == {
        "type": "logical", "mode": "and", "invert": False,
        "rules": [{"port": [53], "invert": False}, {"network": ["udp"], "invert": True}],
    }  # fmt: skip
    assert set(rules[3]["adguard_domain"]) == {"||ads.com^", "track*", "|exact.com^"}
    assert rules[4]["source_ip_cidr"] == ["2001:db8::/32", "10.0.0.0/8"]
    text = list_text(content, "a.srs", "sing-box")
    for name, is_in in {
        "a.com": True, "x.a.com": False, "x.below.com": True, "only.com": False, "x.only.com": True,
        "port.com": True, "ads.com": True, "x.ads.com": True, "bads.com": False, "my.tracker.com": True,
        "exact.com": True, "x.exact.com": False, "other.com": False,
    }.items():  # fmt: skip
        assert held(text, flow(name)) is is_in, name
    assert held(text, flow("other.com", port=53))


def test_what_a_list_cannot_say_here_is_told_and_the_rest_holds() -> None:
    told: list[str] = []
    text = source({"wifi_ssid": "home"}, {"domain": "a.com"}, {"package_name": ["x"]}, {"domain_regex": "(a"})
    made = parse_rule_set(text, "sing-box", "list.json", tell=told.append)
    assert made.holds(flow("a.com")) is True
    (line,) = told
    assert line.startswith("list.json:1: wifi_ssid is about the network that the machine is in")
    assert "(and 2 more lines of it)" in line
    for empty in ("domain_keyword", "domain_regex", "domain_suffix", "adguard_domain", "process_path_regex"):
        with pytest.raises(LocalError, match=r"empty|a name has 1 to"):
            parse_rule_set(source({empty: [""]}), "sing-box", "list.json")
    with pytest.raises(LocalError, match="package_name"):
        parse_rule_set(source({"package_name": ["x"]}), "sing-box", "list.json")


@pytest.mark.parametrize("text", ["[]", "{}", '{"rules": 1}', "a.com", '{"rules": [1]}', "[" * 100_000])
def test_what_is_no_such_list_is_an_error_with_its_name(text: str) -> None:
    with pytest.raises(LocalError, match=r"^list\.json"):
        parse_rule_set(text, "sing-box", "list.json")


WHOLE = packed(rule((2, tree(["a.com", "b.com"])), (9, numbers([80]))))


@pytest.mark.parametrize(
    "content",
    [
        b"SRS",
        b"SRS\x09" + WHOLE[4:],
        b"SRS\x02plain",
        *(
            b"SRS\x02" + zlib.compress(zlib.decompress(WHOLE[4:])[:cut])
            for cut in range(len(zlib.decompress(WHOLE[4:])))
        ),
        packed(b"\x07"),
        packed(rule((99, b""))),
        packed(rule((6, b"\1" + bytes(7) + b"\1" + b"\3abc\3abd"))),
        packed(logical(9)),
        b"SRS\x02" + zlib.compress(b"\xff" * 11),
        packed(b"\1\0\1" * 100),
    ],
)
def test_what_is_broken_is_one_error(content: bytes) -> None:
    with pytest.raises(BadPacket):
        rules_untrusted(content)


def test_a_packed_list_wants_its_own_behavior() -> None:
    with pytest.raises(LocalError, match='behavior = "sing-box"'):
        list_text(WHOLE, "a.srs", "domain")
