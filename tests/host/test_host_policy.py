"""Rules, routes and the firewall's text as values: no host is touched."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest

from tunflow.errors import LocalError
from tunflow.host.netlink.links import NetworkInterface, inside_links
from tunflow.host.netlink.messages import RTN_UNICAST
from tunflow.host.netlink.routes import THROW, UNREACHABLE, Route, RouteTarget
from tunflow.host.network import firewall
from tunflow.host.network.policy_routes import (
    RoutingFacts,
    attached_networks,
    is_private,
    plan_dns_routes,
    plan_routes,
    plan_rules,
    vpn_servers,
)
from tunflow.host.network.settings import AppScope, HostDNS, HostSettings

ETH0, ETH1, DOCKER, WG, TUN = 2, 3, 4, 5, 9
SETTINGS = HostSettings(addresses=(ip_interface("198.18.0.1/30"), ip_interface("fd74::1/126")))
LINKS = {
    ETH0: NetworkInterface(ETH0, "eth0", "", 1500, True, 0),
    ETH1: NetworkInterface(ETH1, "eth1", "", 1500, True, 0),
    DOCKER: NetworkInterface(DOCKER, "docker0", "bridge", 1500, True, 0),
    WG: NetworkInterface(WG, "wg0", "wireguard", 1420, True, 0),
    TUN: NetworkInterface(TUN, "tunflow0", "tun", 1500, True, 0),
}
ROUTES = (
    ("0.0.0.0/0", ETH0, 254, False),
    ("192.168.1.0/24", ETH0, 254, True),
    ("10.20.0.0/16", ETH0, 254, False),
    ("192.168.7.0/24", ETH1, 254, True),
    ("172.17.0.0/16", DOCKER, 254, True),
    ("203.0.113.0/24", WG, 254, False),
    ("10.99.0.0/16", WG, 51820, False),
    ("127.0.0.0/8", 1, 255, False),
    ("2001:db8:1::/64", ETH0, 254, True),
    ("::/0", ETH0, 254, False),
)


def _around(*more: tuple[str, int, int, bool], gateways: tuple[int, ...] = ()) -> RoutingFacts:
    routes = [
        Route(ip_network(destination), RouteTarget(RTN_UNICAST, (device,)), table, 2 if connected else 3, connected)
        for destination, device, table, connected in (*ROUTES, *more)
    ]
    return RoutingFacts(LINKS, routes, TUN, frozenset(gateways))


def _thrown(settings: HostSettings, around: RoutingFacts, version: int = 4) -> set[str]:
    return {str(network) for network, way in plan_routes(settings, version, around).items() if way == THROW}


def _captured(settings: HostSettings, around: RoutingFacts) -> set[str]:
    """The destinations of the rules before those that leave private networks to the main table."""
    return {str(rule.destination) for rule in plan_rules(settings, 4, around) if rule.priority == settings.priority + 7}


def test_uplinks_are_where_default_routes_lead() -> None:
    assert _around().uplinks == {ETH0}
    assert _around(("0.0.0.0/0", ETH1, 254, False)).uplinks == {ETH0, ETH1}
    # OpenVPN's redirect-gateway def1: its halves are a default route, so that VPN is what carries our own packets.
    assert _around(("0.0.0.0/1", WG, 254, False), ("128.0.0.0/1", WG, 254, False)).uplinks == {ETH0, WG}
    assert _around(("0.0.0.0/0", WG, 51820, False)).uplinks == {ETH0}  # a table of its own


def test_where_the_main_table_has_no_default_route_another_tables_counts() -> None:
    routes = [route for route in _around(("0.0.0.0/0", WG, 51820, False)).routes if route.table != 254]
    default = Route(ip_network("0.0.0.0/0"), RouteTarget(RTN_UNICAST, (ETH1,)), 100, 3, False)
    assert RoutingFacts(LINKS, [*routes, default], TUN).uplinks == {ETH1}
    assert RoutingFacts(LINKS, routes, TUN).uplinks == frozenset()


def test_other_vpns_keep_their_networks_whatever_their_table() -> None:
    assert _thrown(SETTINGS, _around()) == {"203.0.113.0/24", "10.99.0.0/16"}


def test_another_vpn_that_has_the_default_route_reaches_its_server() -> None:
    halves = (("0.0.0.0/1", WG, 254, False), ("128.0.0.0/1", WG, 254, False))
    server = ("198.51.100.9/32", ETH0, 254, False)
    assert "198.51.100.9/32" in _thrown(SETTINGS, _around(*halves, server))
    near = firewall.Neighbourhood(vpn_servers=tuple(vpn_servers(_around(*halves, server))))
    assert "ip daddr { 198.51.100.9/32 } accept" in firewall.ruleset(replace(SETTINGS, kill_switch=True), near)
    assert "198.51.100.9/32" not in _thrown(SETTINGS, _around(server))  # CVE-2024-3661 again
    by_dhcp = replace(_around(*halves, server).routes[-1], protocol=16)
    around = replace(_around(*halves), routes=[*_around(*halves).routes, by_dhcp])
    assert "198.51.100.9/32" not in _thrown(SETTINGS, around)


def test_the_lan_is_captured_unless_excluded() -> None:
    assert _captured(SETTINGS, _around()) == {"198.18.0.0/30", "192.168.1.0/24", "10.20.0.0/16"}
    assert _captured(replace(SETTINGS, exclude_lan=True), _around()) == {"198.18.0.0/30"}
    assert "2001:db8:1::/64" not in _thrown(SETTINGS, _around(), 6)
    assert "2001:db8:1::/64" in _thrown(replace(SETTINGS, exclude_lan=True), _around(), 6)  # public, and on the link


def test_a_gateways_own_lan_is_never_captured() -> None:
    one_armed = replace(SETTINGS, gateways=("eth0",))
    around = _around(gateways=(ETH0,))
    assert _captured(one_armed, around) == {"198.18.0.0/30", "10.20.0.0/16"}
    assert "2001:db8:1::/64" in _thrown(one_armed, around, 6)


def test_the_longest_prefix_is_left_to_the_table() -> None:
    included = (ip_network("10.0.0.0/8"), ip_network("10.1.2.0/24"))
    excluded = (ip_network("10.1.0.0/16"), ip_network("10.1.2.0/24"))
    routes = plan_routes(replace(SETTINGS, included=included, excluded=excluded), 4, _around())
    assert routes[ip_network("10.0.0.0/8")] == RouteTarget(RTN_UNICAST, (TUN,))
    assert routes[ip_network("10.1.0.0/16")] == THROW
    assert routes[ip_network("10.1.2.0/24")] == THROW  # in both: excluded
    assert routes[ip_network("198.18.0.0/30")] == RouteTarget(RTN_UNICAST, (TUN,))
    assert ip_network("0.0.0.0/0") not in routes


def test_ipv6_without_an_address_is_unreachable() -> None:
    settings = replace(SETTINGS, addresses=SETTINGS.addresses[:1])
    assert plan_routes(settings, 6, _around())[ip_network("::/0")] == UNREACHABLE


def test_marked_packets_never_meet_our_table() -> None:
    for version in (4, 6):
        rules = plan_rules(SETTINGS, version, _around())
        assert [(rule.table, rule.goto) for rule in rules[:6]] == [(254, None)] * 3 + [(None, 7410)] * 3
        assert {rule.mark for rule in rules[:6]} == {SETTINGS.mark, SETTINGS.bypass_mark, SETTINGS.answer_mark}
        assert rules[-2].table == SETTINGS.table
        assert rules[-1].landing
        assert [rule.priority for rule in rules] == sorted(rule.priority for rule in rules)
        assert rules[-1].priority == SETTINGS.priority + 10


def _dns_ways(settings: HostSettings, around: RoutingFacts, version: int = 4) -> list[tuple[str, int | None]]:
    """The rules for port 53: destination, and table or the priority to go on at."""
    rules = [rule for rule in plan_rules(settings, version, around) if rule.port == 53]
    assert all(rule.ports is None for rule in rules)
    return [(str(rule.destination or "all"), rule.goto or rule.table) for rule in rules]


def test_queries_are_carried_wherever_they_are_for() -> None:
    settings = replace(SETTINGS, carry_dns=True, exclude_lan=True, excluded=(ip_network("10.0.0.0/8"),))
    inside = [("10.99.0.0/16", 7407), ("172.17.0.0/16", 7407), ("203.0.113.0/24", 7407)]
    assert _dns_ways(settings, _around()) == [*inside, ("all", 10049), ("all", None)]
    assert _dns_ways(settings, _around(), 6) == [("all", 10049), ("all", None)]
    assert plan_dns_routes(settings, 4, _around()) == {ip_network("0.0.0.0/0"): RouteTarget(RTN_UNICAST, (TUN,))}
    alone = replace(settings, addresses=SETTINGS.addresses[:1])
    assert plan_dns_routes(alone, 6, _around()) == {ip_network("::/0"): UNREACHABLE}
    # Before everything that leads outside, behind our own and the programs that go around the tunnel.
    priorities = [rule.priority for rule in plan_rules(settings, 4, _around()) if rule.port == 53]
    assert min(priorities) > 7403
    assert max(priorities) < 7407


def test_queries_are_left_alone_when_the_tunnel_serves_no_names() -> None:
    assert _dns_ways(SETTINGS, _around()) == []
    assert plan_dns_routes(SETTINGS, 4, _around()) == {}


def test_the_resolvers_of_a_provider_are_reached_as_it_says() -> None:
    dns = HostDNS(tuple(map(ip_address, ("192.168.1.53", "198.18.0.2", "fd00::53"))))
    settings = replace(SETTINGS, carry_dns=True, exclude_lan=True, dns=dns)
    assert ("192.168.1.53/32", 7407) in _dns_ways(settings, _around())
    assert "198.18.0.2/32" not in dict(_dns_ways(settings, _around()))  # the tunnel's own
    assert ("fd00::53/128", 7407) in _dns_ways(settings, _around(), 6)


def test_only_the_queries_of_the_programs_that_it_is_for() -> None:
    settings = replace(SETTINGS, carry_dns=True, cgroups=("/a",), scope=AppScope.ONLY)
    assert {rule.mark for rule in plan_rules(settings, 4, _around()) if rule.port == 53} == {settings.only_mark}


@pytest.mark.parametrize(("text", "private"), [("10.1.0.0/16", True), ("10.0.0.0/7", False), ("fd00::/8", True)])
def test_private_networks(text: str, private: bool) -> None:
    assert is_private(ip_network(text)) == private


def test_what_stays_inside_of_the_machine() -> None:
    uplinks = frozenset((ETH0,))
    assert inside_links(LINKS, uplinks | {TUN}) == ("docker0", "wg0")
    hardware_in_bridge = {**LINKS, 6: NetworkInterface(6, "eth3", "", 1500, True, DOCKER)}
    assert inside_links(hardware_in_bridge, uplinks | {TUN}) == ("wg0",)
    assert inside_links(LINKS, uplinks | {TUN, WG}) == ("docker0",)
    container = {**LINKS, 6: NetworkInterface(6, "veth1", "veth", 1500, True, DOCKER)}
    assert inside_links(container, uplinks | {TUN}) == ("docker0", "wg0")


def test_a_default_route_is_no_lan() -> None:
    around = _around(("0.0.0.0/1", ETH0, 254, True))  # a netmask of one bit, by a DHCP server that wants it all
    assert attached_networks(around, frozenset((ETH0,))) == {
        ip_network("192.168.1.0/24"),
        ip_network("2001:db8:1::/64"),
    }


def _text(**changes: Any) -> str:
    near = firewall.Neighbourhood(("docker0",), (ip_network("192.168.1.0/24"),), (ip_network("2001:db8:7::/64"),))
    return firewall.ruleset(replace(SETTINGS, kill_switch=True, **changes), near)


def test_the_table_is_replaced_in_one_transaction() -> None:
    assert _text().splitlines()[:2] == ["add table inet tunflow", "delete table inet tunflow"]


def test_a_login_page_is_reached_by_an_uplink_with_the_mark() -> None:
    wanted = {"portal": (ip_address("10.0.0.53"), ip_address("fd00::53")), "portal_ports": (443, 80), "servers": ()}
    settings = replace(SETTINGS, kill_switch=True, **wanted)
    lines = firewall.ruleset(settings, firewall.Neighbourhood(uplinks=("wlan0",))).splitlines()
    ours = [line.strip() for line in lines if "meta mark 0x2740" in line]
    assert ours == [
        'oifname { "wlan0" } meta mark 0x2740 tcp dport { 80, 443 } accept',
        'oifname { "wlan0" } meta mark 0x2740 ip daddr { 10.0.0.53 } meta l4proto { tcp, udp } th dport 53 accept',
        'oifname { "wlan0" } meta mark 0x2740 ip6 daddr { fd00::53 } meta l4proto { tcp, udp } th dport 53 accept',
    ]
    assert "meta mark 0x2740" not in firewall.ruleset(settings, firewall.Neighbourhood())


def test_only_servers_are_reached_with_the_mark() -> None:
    text = _text(servers=(ip_address("203.0.113.5"), ip_address("2001:db8::5")))
    assert "meta mark 0x2740 ip daddr { 203.0.113.5 } accept" in text
    assert "meta mark 0x2740 ip6 daddr { 2001:db8::5 } accept" in text
    assert "meta mark 0x2740 accept" not in text
    assert "meta mark 0x2740" not in _text(servers=())
    assert "meta mark 0x2740 accept" in _text(servers=None)


def test_a_lan_is_reached_only_when_excluded() -> None:
    assert "192.168.0.0/16" not in _text()
    assert "192.168.0.0/16" in _text(exclude_lan=True)
    dns = HostDNS((ip_address("192.168.1.53"),))
    assert "ip daddr != { 192.168.1.53 } meta l4proto { tcp, udp } th dport { 53, 853 }" in _text(
        exclude_lan=True, dns=dns
    )


def test_queries_of_bound_sockets_are_refused_without_a_kill_switch_too() -> None:
    text = firewall.ruleset(replace(SETTINGS, carry_dns=True), firewall.Neighbourhood(("docker0",)))
    assert 'oifname { "lo", "tunflow0", "docker0" } accept' in text
    assert "meta mark { 0x2740, 0x2741 } accept" in text
    assert "meta l4proto { tcp, udp } th dport 53 counter reject" in text
    assert "chain" not in firewall.ruleset(SETTINGS, firewall.Neighbourhood())
    only = replace(SETTINGS, carry_dns=True, cgroups=("/a",), scope=AppScope.ONLY)
    assert "dport 53" not in firewall.ruleset(only, firewall.Neighbourhood())


def test_answers_to_outside_are_marked_unless_there_is_a_kill_switch() -> None:
    near = firewall.Neighbourhood(uplinks=("eth0",))
    assert "ct direction reply ct mark 0x2743 meta mark set 0x2743" in firewall.ruleset(SETTINGS, near)
    assert "0x2743" not in firewall.ruleset(replace(SETTINGS, kill_switch=True), near)


def test_what_is_not_included_passes() -> None:
    text = _text(included=(ip_network("10.0.0.0/8"),), excluded=(ip_network("10.1.0.0/16"),))
    assert "elements = { 10.0.0.0-10.0.255.255, 10.2.0.0-10.255.255.255 }" in text
    assert "ip daddr != @ours4 accept" in text
    assert "meta nfproto ipv6 accept" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"addresses": ()}, "tunnel addresses: expected at least one"),
        ({"device": "a b"}, "interface name 'a b': expected 1 to 15 characters"),
        ({"device": "tun%d"}, "interface name"),
        ({"device": 'x";drop'}, "interface name"),
        ({"device": "0123456789abcdef"}, "interface name"),
        ({"gateways": ("",)}, "interface name ''"),
        ({"gateways": ("tunflow0",)}, "expected another interface than the tunnel's own"),
        ({"mtu": 1279}, "tunnel mtu 1279: expected 1280 to 65535"),
        ({"mtu": 65536}, "tunnel mtu"),
        ({"mark": 0}, "mark 0: expected 1 to"),
        ({"table": 254}, "table 254: expected 256 to"),
        ({"priority": 32756}, "rule priority 32756: expected 1 to 32755"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(LocalError) as caught:
        replace(SETTINGS, **changes)
    assert str(caught.value).startswith(said) or said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"search": ("a b",)}, "dns domain 'a b'"),
        ({"match": ("x;y",)}, "dns domain 'x;y'"),
        ({"match": ()}, "dns match domains: expected at least one"),
        ({"search": ("a" * 64,)}, "dns domain"),
        ({"match": ("-x",)}, "dns domain"),
    ],
)
def test_resolvers_that_cannot_be(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(LocalError, match=said):
        HostDNS((ip_address("198.18.0.2"),), **changes)
