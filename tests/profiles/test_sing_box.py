"""Whole configurations of sing-box: names, lists, endpoints and rules, each done, told or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tunflow.profiles.imports.importer import ImportSource, import_profile
from tunflow.profiles.profile import Profile
from tunflow.tunnel.check import check
from tunflow.tunnel.rule_lists import RuleLists

SERVER = {"type": "shadowsocks", "tag": "a", "server": "192.0.2.1", "server_port": 8388, "method": "aes-256-gcm",
          "password": "p"}  # fmt: skip
KEY = "eCtXsJZ27+4PbhDkHnB923tkUn2Gj59wZw5wFA75MnU="
PEER = {"address": "192.0.2.9", "port": 51820, "public_key": "Cr8hWlKvtDt7nrvf+f0brNQQzabAqrjfBvas9pmowjo="}
WIREGUARD = {"type": "wireguard", "tag": "wg", "address": ["10.0.0.2/32"], "private_key": KEY, "peers": [PEER]}


def taken(
    more: dict[str, Any], rules: list[dict[str, Any]] | None = None, **route: Any
) -> tuple[Profile, list[str], list[str]]:
    """The profile, what was lost, and what was only told."""
    data = {"outbounds": [SERVER, {"type": "direct", "tag": "out"}], "route": {"rules": rules or [], **route}, **more}
    made = import_profile(ImportSource(json.dumps(data).encode(), "c.json", "c"))
    said = {
        lost: [f"{each.place} {each.reason}" for each in made.told if each.is_lost is lost] for lost in (True, False)
    }
    check(made.profile, lambda _: None)
    return made.profile, said[True], said[False]


def rules_of(*rules: dict[str, Any], **more: Any) -> tuple[str, ...]:
    profile, lost, _ = taken(more, list(rules))
    assert not lost
    assert profile.rules[-1] == "MATCH,a"
    return profile.rules[:-1]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"domain": "x.com"}, "DOMAIN,x.com,DIRECT"),
        ({"domain_suffix": ".x.com"}, "DOMAIN-WILDCARD,*.x.com,DIRECT"),
        ({"ip_cidr": "192.0.2.0/24", "network": ["tcp", "udp"]},
         "AND,((IP-CIDR,192.0.2.0/24),(OR,((NETWORK,tcp),(NETWORK,udp)))),DIRECT"),
        ({"ip_version": 6}, "IP-CIDR,::/0,DIRECT,no-resolve"),
        ({"source_ip_is_private": True}, "GEOIP,LAN,DIRECT,src"),
        ({"port_range": [":1023", "9000:"]}, "OR,((DST-PORT,0-1023),(DST-PORT,9000-65535)),DIRECT"),
        ({"source_port": 53, "user_id": [0]}, "AND,((SRC-PORT,53),(UID,0)),DIRECT"),
        ({"protocol": "quic"}, "AND,((NETWORK,udp),(DST-PORT,443)),DIRECT"),
        ({"domain": "x.com", "invert": True}, "NOT,((DOMAIN,x.com)),DIRECT"),
        ({"clash_mode": "rule", "domain": "x.com"}, "DOMAIN,x.com,DIRECT"),
    ],
)  # fmt: skip
def test_what_a_rule_is_about(rule: dict[str, Any], text: str) -> None:
    (found,) = rules_of({**rule, "outbound": "out"})
    assert found == text


def test_rules_about_ports_of_its_own_and_other_modes_never_hold() -> None:
    tun, mixed = {"type": "tun", "tag": "t"}, {"type": "mixed", "tag": "m"}
    rules = [
        {"inbound": "m", "outbound": "out"}, {"clash_mode": "Direct", "outbound": "out"},
        {"auth_user": "u", "outbound": "out"}, {"package_name": "p", "outbound": "out"},
        {"inbound": ["m", "t"], "domain": "x.com", "outbound": "out"},
        {"type": "logical", "mode": "or", "rules": [{"inbound": "m"}, {"domain": "y.com"}], "outbound": "out"},
        {"type": "logical", "mode": "and", "rules": [{"inbound": "m"}, {"domain": "y.com"}], "outbound": "out"},
    ]  # fmt: skip
    profile, lost, told = taken({"inbounds": [tun, mixed]}, rules)
    assert not lost
    assert profile.rules == ("DOMAIN,x.com,DIRECT", "DOMAIN,y.com,DIRECT", "MATCH,a")
    assert sum("never holds" in each for each in told) == 5
    assert any(each.startswith("inbounds[1] ports of sing-box's own") for each in told)
    modes = {"experimental": {"clash_api": {"default_mode": "Direct"}}}
    assert rules_of({"clash_mode": "Direct", "outbound": "out"}, **modes) == ("MATCH,DIRECT",)


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"protocol": "bittorrent"}, "protocol bittorrent is not supported"),
        ({"wifi_ssid": "home"}, "wifi_ssid is not supported: about the network"),
        ({"user": "me"}, "user is not supported: user_id is a number"),
        ({"rule_set": "gone"}, "there is no rule set 'gone'"),
        ({"colour": "red"}, "colour is not known"),
        ({"network": "icmp"}, "not a network"),
        ({"domain_regex": [""]}, "it is empty, and would be found in everything"),
        ({"domain_regex": ["("]}, "a group is not closed"),
        ({"domain_suffix": ["x.com", ""]}, "a name has 1 to 253 characters"),
        ({"process_path_regex": [""]}, "it is empty"),
        ({}, "it has no condition"),
        ({"domain": "x.com", "action": "bypass"}, "action bypass is not supported"),
    ],
)
def test_a_rule_without_an_equal_is_lost_and_match_direct_is_closed(rule: dict[str, Any], why: str) -> None:
    profile, lost, _ = taken({}, [{"outbound": "a", **rule}], final="out")
    assert any(why in each for each in lost), lost
    assert profile.rules[-1] == "MATCH,REJECT"


def test_lists_of_every_kind(tmp_path: Any) -> None:
    (tmp_path / "l.json").write_text(json.dumps({"version": 1, "rules": [{"domain": "local.com"}]}))
    sets = [
        {"tag": "in", "type": "inline", "rules": [{"domain_suffix": ["in.com"], "port": 443}]},
        {"tag": "file", "type": "local", "format": "source", "path": str(tmp_path / "l.json")},
        {"tag": "web", "type": "remote", "url": "https://l.example/x.srs", "update_interval": "12h",
         "download_detour": "out"},
    ]  # fmt: skip
    profile, lost, told = taken({}, [{"rule_set": ["in", "file", "web"], "outbound": "out"}], rule_set=sets)
    assert not lost
    assert profile.rules[0] == "RULE-SET,route.rules[0],DIRECT"
    assert {name: section.behavior for name, section in profile.rule_sets.items()} == {
        "in": "sing-box", "file": "sing-box", "web": "sing-box", "route.rules[0]": "classical",
    }  # fmt: skip
    assert profile.rule_sets["web"].interval == 43200.0
    assert told == ["route.rule_set[2].download_detour the list is fetched as anybody would"]


@pytest.mark.parametrize("rule", [{"domain_regex": ["("]}, {"domain_regex": [""]}, {"domain_keyword": [""]}, {}, "x"])
def test_a_list_of_its_own_that_is_not_understood_is_lost_with_its_rules(rule: Any) -> None:
    sets = [{"tag": "in", "type": "inline", "rules": [{"domain": "x.com"}, rule]}]
    profile, lost, _ = taken({}, [{"rule_set": "in", "outbound": "out"}], rule_set=sets)
    assert any(each.startswith("route.rule_set[0] ") for each in lost)
    assert "route.rules[0] there is no rule set 'in'" in lost
    assert profile.rules == ("MATCH,a",)


def test_a_wireguard_endpoint_is_a_server() -> None:
    profile, lost, _ = taken({"endpoints": [WIREGUARD]}, [{"domain": "x.com", "outbound": "wg"}])
    assert not lost
    (link,) = profile.servers["wg"].links
    assert link.server.first_hop == ("192.0.2.9", 51820)
    assert profile.rules[0] == "DOMAIN,x.com,wg"


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        ({**WIREGUARD, "peers": [{**PEER, "reserved": [1, 2, 3]}]}, "reserved bytes"),
        ({**WIREGUARD, "peers": [PEER, PEER]}, "one peer"),
        ({**WIREGUARD, "private_key": "x"}, "private-key: not a WireGuard key"),
        ({"type": "tailscale", "tag": "wg"}, "type tailscale is not supported"),
    ],
)
def test_an_endpoint_that_would_be_another_is_lost(endpoint: dict[str, Any], why: str) -> None:
    profile, lost, _ = taken({"endpoints": [endpoint]}, [{"domain": "x.com", "outbound": "wg"}])
    assert any(why in each for each in lost), lost
    assert profile.rules[0] == "DOMAIN,x.com,REJECT"


def names(servers: list[Any], rules: list[Any] | None = None, more: dict[str, Any] | None = None, **dns: Any) -> Any:
    sets = [{"tag": "cn", "rules": [{"domain_suffix": "cn.com"}]}, {"tag": "ads", "rules": [{"domain": "ad.com"}]}]
    dns = {"servers": servers, "rules": rules or [], **dns}
    profile, lost, told = taken({"dns": dns, **(more or {})}, rule_set=sets)
    return profile, lost, told


OLD = [
    {"tag": "far", "address": "tls://8.8.8.8", "detour": "a"},
    {"tag": "near", "address": "https://223.5.5.5/dns-query", "detour": "out"},
    {"tag": "sys", "address": "local"}, {"tag": "fake", "address": "fakeip"}, {"tag": "no", "address": "rcode://refused"},
]  # fmt: skip
NEW = [
    {"tag": "far", "type": "tls", "server": "8.8.8.8", "detour": "a"},
    {"tag": "near", "type": "https", "server": "223.5.5.5", "detour": "out"},
    {"tag": "sys", "type": "local"}, {"tag": "fake", "type": "fakeip", "inet4_range": "198.18.0.0/15"},
]  # fmt: skip


@pytest.mark.parametrize("servers", [OLD, NEW])
def test_names_in_both_forms(servers: list[Any]) -> None:
    rules = [
        {"outbound": "any", "server": "sys"},
        {"clash_mode": "Global", "server": "far"},
        {"domain": "one.com", "domain_suffix": ["two.com", ".three.com"], "server": "near"},
        {"rule_set": "cn", "server": "sys"},
        {"rule_set": "ads", "action": "reject"},
        {"query_type": ["A", "AAAA"], "server": "fake"},
    ]
    profile, lost, told = names(
        servers, rules, final="far", strategy="ipv4_only", fakeip={"inet4_range": "198.18.0.0/15"}
    )
    assert not lost
    dns = profile.dns
    assert dns.servers == ("tls://8.8.8.8#a",)
    assert dns.hide_aaaa
    assert [(route.domains, route.servers) for route in dns.routes] == [
        (("full:one.com", "two.com", ".three.com"), ("https://223.5.5.5/dns-query#direct",))
    ]
    assert dns.fake_ip is not None
    assert dns.fake_ip.pool4 == "198.18.0.0/15"
    assert dns.fake_ip.real == ("full:one.com", "two.com", ".three.com", "rule-set:cn")
    assert not dns.fake_ip.only
    assert profile.rules[0] == "RULE-SET,ads,REJECT,no-resolve"
    assert any("the system's resolvers would be asked past the tunnel" in each for each in told)


def test_names_with_and_or_and_invert() -> None:
    both = {"type": "logical", "mode": "and", "server": "near"}
    rules = [
        {**both, "rules": [{"domain_suffix": ["cn", "x.com"]}, {"domain_keyword": "ads", "invert": True}]},
        {"rule_set": "cn", "invert": True, "server": "far"},
    ]
    profile, lost, _ = names(OLD, rules, final="near")
    assert not lost
    assert [(route.domains, route.servers) for route in profile.dns.routes] == [
        (("rule-set:dns.rules[0].names",), ("https://223.5.5.5/dns-query#direct",)),
        (("rule-set:dns.rules[1].names",), ("tls://8.8.8.8#a",)),
    ]
    context = RuleLists(profile).context
    first, second = (context.rule_sets[f"dns.rules[{number}].names"] for number in (0, 1))
    assert [first.is_about(name) for name in ("a.cn", "b.x.com", "ads.cn", "ads.org", "x.org")] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert [second.is_about(name) for name in ("cn.com", "a.cn.com", "x.org")] == [False, False, True]


def test_fake_addresses_for_some_names_only() -> None:
    profile, lost, _ = names(NEW, [{"domain_keyword": "video", "query_type": "A", "server": "fake"}])
    assert not lost
    assert profile.dns.fake_ip.only == ("rule-set:dns.rules[0]",)
    assert profile.rule_sets["dns.rules[0]"].lines == ("DOMAIN-KEYWORD,video",)


@pytest.mark.parametrize(
    ("server", "link"),
    [
        ({"type": "udp", "server": "9.9.9.9", "server_port": 5353}, "udp://9.9.9.9:5353"),
        ({"type": "tcp", "server": "2001:db8::1"}, "tcp://[2001:db8::1]"),
        ({"type": "tls", "server": "1.1.1.1", "tls": {"server_name": "one.one"}}, "tls://one.one@1.1.1.1"),
        ({"type": "h3", "server": "1.1.1.1", "path": "/q"}, "https://1.1.1.1/q"),
        ({"address": "h3://dns.google/dns-query"}, "https://dns.google/dns-query"),
        ({"address": "9.9.9.9"}, "9.9.9.9"),
        ({"type": "quic", "server": "94.140.14.14"}, "quic://94.140.14.14"),
    ],
)
def test_resolvers(server: dict[str, Any], link: str) -> None:
    profile, lost, _ = names([{"tag": "x", **server}])
    assert not lost
    assert profile.dns.servers == (link,)


@pytest.mark.parametrize(
    ("servers", "rules", "why"),
    [
        ([{"tag": "x", "type": "tls", "server": "1.1.1.1", "tls": {"insecure": True}}], [], "tls.insecure"),
        ([{"tag": "x", "address": "1.1.1.1", "detour": "gone"}], [], "there is no outbound 'gone'"),
        ([{"tag": "x", "type": "https", "server": "1.1.1.1", "headers": {"A": "b"}}], [], "headers the resolver"),
        ([{"tag": "x", "type": "doh2"}], [], "type doh2 is not supported"),
        (OLD, [{"ip_cidr": "10.0.0.0/8", "server": "near"}], "ip_cidr is not supported"),
        (OLD, [{"query_type": "MX", "server": "near"}], "query_type is not supported"),
        (OLD, [{"type": "logical", "mode": "and", "rules": [{}], "server": "near"}], "it has no condition"),
        (OLD, [{"type": "logical", "mode": "or", "rules": [{"port": 1}], "server": "near"}], "port is not supported"),
        (
            OLD,
            [{"domain": "x.com", "invert": True, "query_type": "A", "server": "fake"}],
            "query_type is not supported",
        ),
        (OLD, [{"domain": "x.com", "server": "gone"}], "there is no server 'gone'"),
        (OLD, [{"action": "reject"}], "it refuses all names"),
        (OLD, [{"domain_suffix": [""], "server": "near"}], "a name has 1 to 253 characters"),
        (OLD, [{"domain": ["x.com", ""], "server": "near"}], "a name has 1 to 253 characters"),
        (OLD, [{"domain_regex": [""], "server": "near"}], "it is empty"),
    ],
)
def test_names_that_would_be_looked_up_otherwise_are_lost(servers: list[Any], rules: list[Any], why: str) -> None:
    _, lost, _ = names(servers, rules)
    assert any(why in each for each in lost), lost


def test_the_tun_and_the_dashboard() -> None:
    excluded = ["192.168.0.0/16"]
    tun = {"type": "tun", "mtu": 9000, "route_exclude_address": excluded, "exclude_uid": [1], "stack": "system"}
    api = {"clash_api": {"external_controller": "127.0.0.1:9090", "secret": "s"}, "cache_file": {"enabled": True}}
    profile, lost, told = taken({"inbounds": [tun], "experimental": api, "log": {"level": "info"}, "odd": 1})
    assert not lost
    assert (profile.tunnel.mtu, profile.tunnel.excluded_routes) == (9000, ("192.168.0.0/16",))
    assert profile.api is not None
    assert profile.api.secret == "s"
    for start in (
        "inbounds[0].exclude_uid",
        "inbounds[0].stack",
        "experimental.cache_file",
        "log ",
        "odd is not known",
    ):
        assert any(each.startswith(start) for each in told), (start, told)


@pytest.mark.parametrize(
    ("more", "rules", "place"),
    [
        (
            {},
            [{"domain": "x.com", "invert": "true", "outbound": "out"}],
            "route.rules[0].invert it is not true or false",
        ),
        (
            {},
            [{"type": ["logical"], "mode": "or", "rules": [], "outbound": "out"}],
            "route.rules[0].type it is not a text",
        ),
        ({}, {"domain": "x.com", "outbound": "out"}, "route.rules it is not a list"),
        ({"outbounds": [{**SERVER, "detour": ["b"]}]}, [], "outbounds[0].detour it is not a text"),
        ({"outbounds": [{**SERVER, "multiplex": True}]}, [], "outbounds[0].multiplex it is not a table"),
        ({"dns": [{"servers": []}]}, [], "dns it is not a table"),
        ({"dns": {"servers": [{"type": "udp", "server": "192.0.2.53", "detour": {}}]}}, [], "dns.servers[0].detour"),
    ],
)
def test_a_value_of_the_wrong_kind_is_not_as_good_as_none(more: dict[str, Any], rules: Any, place: str) -> None:
    assert any(each.startswith(place) for each in taken(more, rules)[1])


def test_kinds_of_what_is_the_users_own_or_nothing_are_free() -> None:
    transport = {"type": "ws", "path": "/", "headers": {"type": ["x"], "tag": "y"}}
    server = {"type": "vless", "tag": "v", "server": "192.0.2.1", "server_port": 1, "uuid": "0" * 32, "tls": None}
    _, lost, _ = taken({"outbounds": [{**server, "transport": transport}], "inbounds": [{"type": "tun", "tag": "t"}]})
    assert not any("it is not a" in each for each in lost)
