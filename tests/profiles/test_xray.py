"""Whole configurations of Xray and V2Ray: routing, balancers and names, each done, told or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tunflow.profiles.imports.importer import ImportSource, import_profile
from tunflow.profiles.profile import Profile
from tunflow.tunnel.check import check

INBOUNDS = [{"tag": "socks", "protocol": "socks", "port": 1080}, {"tag": "api", "protocol": "dokodemo-door", "port": 1}]


def server(tag: str, **more: Any) -> dict[str, Any]:
    where = {"address": "192.0.2.1", "port": 8388, "method": "aes-256-gcm", "password": "p"}
    return {"tag": tag, "protocol": "shadowsocks", "settings": {"servers": [where]}, **more}


OUTBOUNDS = [
    server("proxy-a"), server("proxy-b"), {"tag": "direct", "protocol": "freedom"},
    {"tag": "block", "protocol": "blackhole"}, {"tag": "dns-out", "protocol": "dns"},
]  # fmt: skip


def taken(routing: dict[str, Any], **more: Any) -> tuple[Profile, list[str], list[str]]:
    """The profile, what was lost, and what was only told."""
    data = {"inbounds": INBOUNDS, "outbounds": OUTBOUNDS, "routing": routing, **more}
    made = import_profile(ImportSource(json.dumps(data).encode(), "c.json", "c"))
    said = {lost: [f"{e.place} {e.reason}" for e in made.told if e.is_lost is lost] for lost in (True, False)}
    check(made.profile, lambda _: None)
    return made.profile, said[True], said[False]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"domain": ["domain:x.com"]}, "DOMAIN-SUFFIX,x.com,DIRECT"),
        ({"domain": ["full:x.com"]}, "DOMAIN,x.com,DIRECT"),
        ({"domain": ["word"]}, "DOMAIN-KEYWORD,word,DIRECT"),
        ({"domains": ["geosite:cn"]}, "GEOSITE,cn,DIRECT"),
        ({"ip": ["geoip:private"]}, "GEOIP,LAN,DIRECT,no-resolve"),
        ({"ip": ["192.0.2.0/24"]}, "IP-CIDR,192.0.2.0/24,DIRECT,no-resolve"),
        ({"ip": ["!10.0.0.0/8"]}, "NOT,((IP-CIDR,10.0.0.0/8,no-resolve)),DIRECT"),
        ({"port": "53,443,1000-2000", "network": "udp"}, "AND,((DST-PORT,53/443/1000-2000),(NETWORK,udp)),DIRECT"),
        ({"port": 443}, "DST-PORT,443,DIRECT"),
        ({"network": "tcp,udp"}, "OR,((NETWORK,tcp),(NETWORK,udp)),DIRECT"),
        ({"source": ["10.0.0.0/8"]}, "IP-CIDR,10.0.0.0/8,DIRECT,src"),
        ({"process": ["curl"]}, "PROCESS-NAME,curl,DIRECT"),
        ({"inboundTag": ["socks"], "type": "field"}, "OR,((NETWORK,tcp),(NETWORK,udp)),DIRECT"),
        ({"domain": ["domain:x.com"], "ip": ["192.0.2.1"]},
         "AND,((DOMAIN-SUFFIX,x.com),(IP-CIDR,192.0.2.1,no-resolve)),DIRECT"),
    ],
)  # fmt: skip
def test_what_a_rule_is_about(rule: dict[str, Any], text: str) -> None:
    profile, lost, _ = taken({"rules": [{**rule, "outboundTag": "direct"}]})
    assert not lost
    assert profile.rules == (text, "MATCH,proxy-a")


def test_several_names_are_a_list_and_names_are_looked_up_as_the_strategy_says() -> None:
    rules = [
        {"domain": ["regexp:^(a|b)\\.", "full:c.com"], "outboundTag": "block"},
        {"ip": ["192.0.2.0/24", "2001:db8::/32"], "outboundTag": "direct"},
    ]
    profile, lost, _ = taken({"rules": rules, "domainStrategy": "IPIfNonMatch"})
    assert not lost
    assert profile.rules == (
        "RULE-SET,routing.rules[0] domain,REJECT", "RULE-SET,routing.rules[1] ip,DIRECT",
        "RULE-SET,routing.rules[1] again ip,DIRECT", "MATCH,proxy-a",
    )  # fmt: skip
    assert profile.rule_sets["routing.rules[0] domain"].lines == ("DOMAIN-REGEX,^(a|b)\\.", "DOMAIN,c.com")
    first, second = (profile.rule_sets[f"routing.rules[1]{again} ip"].lines for again in ("", " again"))
    assert first == ("IP-CIDR,192.0.2.0/24,no-resolve", "IP-CIDR,2001:db8::/32,no-resolve")
    assert second == ("IP-CIDR,192.0.2.0/24", "IP-CIDR,2001:db8::/32")
    asked, _, _ = taken({"rules": rules[1:], "domainStrategy": "IPOnDemand"})
    assert asked.rule_sets["routing.rules[0] ip"].lines == second


def test_rules_that_no_flow_comes_to_are_told() -> None:
    rules = [
        {"inboundTag": ["api"], "outboundTag": "block"}, {"user": ["a@b"], "outboundTag": "block"},
        {"port": 53, "outboundTag": "dns-out"},
    ]  # fmt: skip
    profile, lost, told = taken({"rules": rules})
    assert not lost
    assert profile.rules == ("MATCH,proxy-a",)
    assert sum("it never holds" in each for each in told) == 2
    assert "routing.rules[2] queries are answered here" in told


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"protocol": ["bittorrent"]}, "protocol is not supported"),
        ({"domain": ["ext:file:tag"]}, "ext:file:tag is not supported"),
        ({"ip": ["ext:file:tag"]}, "ext:file:tag is not supported"),
        ({"attrs": {":method": "GET"}}, "attrs is not supported"),
        ({"colour": "red"}, "colour is not known"),
        ({"domain": ["regexp:"]}, "it is empty, and would be found in everything"),
        ({"domain": ["full:x.com", "regexp:("]}, "a group is not closed"),
        ({"domain": ["full:x.com", ""]}, "a keyword is at least one"),
        ({}, "it has no condition"),
        ({"domain": ["full:x.com"], "outboundTag": "gone"}, "there is no server or group 'gone'"),
    ],
)
def test_a_rule_without_an_equal_is_lost(rule: dict[str, Any], why: str) -> None:
    _, lost, _ = taken({"rules": [{"outboundTag": "proxy-a", **rule}]})
    assert any(why in each for each in lost), lost


@pytest.mark.parametrize(
    ("strategy", "kind", "chooses"),
    [
        ("random", "load-balance", "round-robin"), ("roundRobin", "load-balance", "round-robin"),
        ("leastPing", "url-test", "consistent-hashing"), ("leastLoad", "url-test", "consistent-hashing"),
    ],
)  # fmt: skip
def test_balancers_are_groups(strategy: str, kind: str, chooses: str) -> None:
    balancer = {"tag": "b", "selector": ["proxy-"], "strategy": {"type": strategy}, "fallbackTag": "direct"}
    rules = [{"network": "tcp", "balancerTag": "b"}]
    observatory = {"subjectSelector": ["proxy"], "probeURL": "http://x.example/204", "probeInterval": "1m"}
    profile, lost, told = taken({"rules": rules, "balancers": [balancer]}, observatory=observatory)
    assert not lost
    group = profile.groups["b"]
    assert (group.type, group.servers, group.strategy) == (kind, ("proxy-a", "proxy-b"), chooses)
    assert (group.url, group.interval) == ("http://x.example/204", 60.0)
    assert profile.rules[0] == "NETWORK,tcp,b"
    assert any("balancers[0].fallbackTag" in each for each in told)


@pytest.mark.parametrize("way", ["proxySettings", "sockopt"])
def test_a_server_behind_another_is_a_chain_and_never_shortened(way: str) -> None:
    def behind(tag: str) -> dict[str, Any]:
        if way == "sockopt":
            return server("out", streamSettings={"network": "tcp", "sockopt": {"dialerProxy": tag}})
        return server("out", proxySettings={"tag": tag})

    profile, lost, _ = taken({}, outbounds=[behind("proxy-a"), *OUTBOUNDS])
    assert not lost
    assert len(profile.servers["out"].chain) == 2
    profile, lost, _ = taken({}, outbounds=[behind("fragment"), *OUTBOUNDS])
    assert any("dialer-proxy 'fragment'" in each for each in lost)
    assert profile.rules == ("MATCH,REJECT",)


def test_names() -> None:
    dns = {
        "servers": [
            {"address": "223.5.5.5", "port": 53, "domains": ["geosite:cn", "domain:x.com", "full:y.com"]},
            {"address": "fakedns", "domains": ["domain:z.com"]},
            "https+local://9.9.9.9/dns-query", "tcp://8.8.8.8", "localhost",
        ],
        "hosts": {"domain:nas.com": "192.168.1.2", "a.com": ["192.0.2.1", "192.0.2.2"], "b.com": "c.com"},
        "queryStrategy": "UseIPv4", "disableCache": True,
    }  # fmt: skip
    profile, lost, told = taken({}, dns=dns, fakedns=[{"ipPool": "198.18.0.0/16", "poolSize": 65535}])
    assert not lost
    found = profile.dns
    assert found.servers == ("https://9.9.9.9/dns-query#direct", "tcp://8.8.8.8")
    assert [(each.domains, each.servers) for each in found.routes] == [
        (("geosite:cn", "x.com", "full:y.com"), ("223.5.5.5:53",))
    ]
    assert found.fake_ip is not None
    assert (found.fake_ip.pool4, found.fake_ip.only) == ("198.18.0.0/16", ("z.com",))
    assert found.hosts == {"+.nas.com": ("192.168.1.2",), "a.com": ("192.0.2.1", "192.0.2.2"), "b.com": ("c.com",)}
    assert found.hide_aaaa
    assert profile.geosite
    assert any("dns.disableCache" in each for each in told)
    assert any("localhost: the system's resolvers" in each for each in told)


@pytest.mark.parametrize(
    ("dns", "why"),
    [
        ({"servers": [{"address": "1.1.1.1", "expectIPs": ["geoip:cn"]}]}, "expectIPs chinadns"),
        ({"servers": [{"address": "1.1.1.1", "domains": ["regexp:^a"]}]}, "names for a resolver are"),
        ({"servers": ["h2c://1.1.1.1/dns-query"]}, "h2c:// is not known"),
        ({"queryStrategy": "UseIPv6"}, "UseIPv6 is not supported"),
        ({"hosts": {"regexp:a": "192.0.2.1"}}, "full: and domain:"),
        ({"hosts": {"": "192.0.2.1"}}, "a name has 1 to 253 characters"),
        ({"hosts": {"a.com": ""}}, "a name has 1 to 253 characters"),
        ({"servers": [{"address": "1.1.1.1", "domains": ["domain:x.com", "full:"]}]}, "'full:': a name has 1 to"),
    ],
)
def test_names_that_would_be_looked_up_otherwise_are_lost(dns: dict[str, Any], why: str) -> None:
    _, lost, _ = taken({}, dns=dns)
    assert any(why in each for each in lost), lost


def test_what_changes_nothing_is_told_and_what_changes_servers_refused() -> None:
    cut = {"tag": "cut", "protocol": "freedom", "settings": {"fragment": {"packets": "tlshello"}}}
    _, lost, told = taken(
        {}, outbounds=[*OUTBOUNDS, cut], log={"loglevel": "warning"}, policy={"x": 1}, reverse={"a": 1}
    )
    assert any(each.startswith("reverse the servers would be other ones") for each in lost)
    assert any(each.startswith("outbounds[5].settings.fragment") for each in lost)
    for start in ("inbounds ", "log ", "policy "):
        assert any(each.startswith(start) for each in told), told


@pytest.mark.parametrize(
    ("routing", "more", "place"),
    [
        (
            {"rules": [{"domain": ["full:x.com"], "outboundTag": ["x"]}]},
            {},
            "routing.rules[0].outboundTag it is not a text",
        ),
        ({"rules": {"domain": ["full:x.com"]}}, {}, "routing.rules it is not a list"),
        ({"domainStrategy": 1}, {}, "routing.domainStrategy it is not a text"),
        ({}, {"dns": {"servers": ["192.0.2.53"], "queryStrategy": ["UseIPv4"]}}, "dns.queryStrategy it is not a text"),
        ({}, {"outbounds": [{**OUTBOUNDS[0], "mux": True}]}, "outbounds[0].mux it is not a table"),
        ({}, {"outbounds": [{**OUTBOUNDS[0], "streamSettings": []}]}, "outbounds[0].streamSettings it is not a table"),
    ],
)
def test_a_value_of_the_wrong_kind_is_not_as_good_as_none(
    routing: dict[str, Any], more: dict[str, Any], place: str
) -> None:
    assert any(each.startswith(place) for each in taken(routing, **more)[1])
