"""Settings: what is accepted, and that an error names the field."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.endpoint import endpoint
from tunflow.errors import LocalError
from tunflow.flow import ProcessInfo
from tunflow.providers import (
    AppRule,
    DNSOverHTTPSSettings,
    DNSOverTLSSettings,
    DNSProtocol,
    DNSSettings,
    IPv4Route,
    IPv4Settings,
    IPv6Route,
    IPv6Settings,
    NetworkRule,
    NetworkRuleProtocol,
    PacketTunnelNetworkSettings,
    ProxyServer,
    ProxySettings,
    TrafficDirection,
    TransparentProxyNetworkSettings,
    TunnelNetworkSettings,
)

FOUR = IPv4Settings(["10.0.0.2/24"])


def test_addresses_and_routes() -> None:
    settings = IPv4Settings(["10.0.0.2"], ["255.255.255.0"], included_routes=[IPv4Route.default()])
    assert settings.addresses == (IPv4Interface("10.0.0.2/24"),)
    assert settings == IPv4Settings(["10.0.0.2/24"], included_routes=[IPv4Route("0.0.0.0", "0.0.0.0")])
    assert IPv4Route("10.0.0.0", "255.0.0.0").destination == IPv4Network("10.0.0.0/8")
    assert IPv6Settings(["fd00::2"], [64]).addresses == (IPv6Interface("fd00::2/64"),)
    assert IPv6Settings(["fd00::2"]).addresses == (IPv6Interface("fd00::2/128"),)
    assert str(IPv6Route("fd00::", 8).destination) == "fd00::/8"


def test_dns() -> None:
    plain = DNSSettings(["1.1.1.1"], match_domains=["Corp.Example."], search_domains=["corp.example"])
    assert plain.dns_protocol is DNSProtocol.CLEARTEXT
    assert plain.match_domains == ("corp.example",)
    assert DNSSettings(["1.1.1.1"], match_domains=[""]).match_domains == ("",)
    assert DNSOverTLSSettings(["1.1.1.1"], "one.example").dns_protocol is DNSProtocol.TLS
    assert DNSOverHTTPSSettings([], "https://dns.example/dns-query").dns_protocol is DNSProtocol.HTTPS


def test_mtu_from_the_overhead() -> None:
    settings = PacketTunnelNetworkSettings(tunnel_remote_address="x", ipv4_settings=FOUR, tunnel_overhead_bytes=80)
    assert settings.mtu_on(1500) == 1420
    assert settings.mtu_on(600) == 576
    fixed = PacketTunnelNetworkSettings(tunnel_remote_address="x", ipv4_settings=FOUR, mtu=1400)
    assert fixed.mtu_on(9000) == 1400


def test_secrets_do_not_show() -> None:
    server = ProxyServer("proxy.example", 8080, True, "me", "secret")
    assert "secret" not in repr(ProxySettings(http_server=server))


WRONG: list[tuple[str, Callable[[], object]]] = [
    ("IPv4Settings.addresses", lambda: IPv4Settings([])),
    ("IPv4Settings.addresses", lambda: IPv4Settings(["fd00::1"])),
    ("IPv4Settings.addresses", lambda: IPv4Settings(["10.0.0.1/33"])),
    ("IPv4Settings.addresses", lambda: IPv4Settings("10.0.0.1")),
    ("IPv4Settings.subnet_masks", lambda: IPv4Settings(["10.0.0.1"], ["255.0.255.0"])),
    ("IPv4Settings.subnet_masks", lambda: IPv4Settings(["10.0.0.1"], [])),
    ("IPv4Settings.included_routes", lambda: IPv4Settings(["10.0.0.1"], included_routes=["10.0.0.0/8"])),  # type: ignore[list-item]
    ("IPv4Route.destination_address", lambda: IPv4Route("10.0.0.1/8")),
    ("IPv4Route.gateway_address", lambda: IPv4Route("10.0.0.0/8", gateway_address="fd00::1")),
    ("IPv6Settings.network_prefix_lengths", lambda: IPv6Settings(["fd00::1"], [129])),
    ("IPv6Route.destination_address", lambda: IPv6Route("10.0.0.0/8")),
    ("DNSSettings.servers", lambda: DNSSettings([])),
    ("DNSSettings.servers", lambda: DNSSettings(["dns.example"])),
    ("DNSSettings.match_domains", lambda: DNSSettings(["1.1.1.1"], match_domains="example.com")),
    ("DNSSettings.search_domains", lambda: DNSSettings(["1.1.1.1"], search_domains=["a..b"])),
    ("DNSOverTLSSettings.server_name", lambda: DNSOverTLSSettings(["1.1.1.1"], "")),
    ("DNSOverHTTPSSettings.server_url", lambda: DNSOverHTTPSSettings([], "http://dns.example/")),
    ("ProxyServer.port", lambda: ProxyServer("proxy", 0)),
    ("ProxyServer.username", lambda: ProxyServer("proxy", 1, username="me")),
    ("ProxySettings.proxy_auto_configuration_javascript", lambda: ProxySettings(None, "alert(1)")),
    ("ProxySettings.proxy_auto_configuration_url", lambda: ProxySettings("pac.js")),
    ("TunnelNetworkSettings.tunnel_remote_address", lambda: TunnelNetworkSettings(tunnel_remote_address="")),
    (
        "TunnelNetworkSettings.dns_settings",
        lambda: TunnelNetworkSettings(tunnel_remote_address="x", dns_settings="1.1.1.1"),  # type: ignore[arg-type]
    ),
    ("PacketTunnelNetworkSettings", lambda: PacketTunnelNetworkSettings(tunnel_remote_address="x")),
    (
        "PacketTunnelNetworkSettings.mtu",
        lambda: PacketTunnelNetworkSettings(tunnel_remote_address="x", ipv4_settings=FOUR, mtu=100),
    ),
    (
        "PacketTunnelNetworkSettings.mtu",
        lambda: PacketTunnelNetworkSettings(
            tunnel_remote_address="x", ipv6_settings=IPv6Settings(["fd00::1"]), mtu=1000
        ),
    ),
    (
        "TransparentProxyNetworkSettings.included_network_rules",
        lambda: TransparentProxyNetworkSettings(tunnel_remote_address="x", included_network_rules=("1.2.3.4",)),  # type: ignore[arg-type]
    ),
    ("NetworkRule.port", lambda: NetworkRule("10.0.0.0/8", 53)),
    ("NetworkRule.destination", lambda: NetworkRule("0.0.0.0/0")),
    ("NetworkRule.destination", lambda: NetworkRule("10.0.0.1/8")),
    ("NetworkRule.direction", lambda: NetworkRule(direction=TrafficDirection.INBOUND)),
    ("AppRule", AppRule),
    ("AppRule.match_path", lambda: AppRule("curl")),
    ("AppRule.match_uid", lambda: AppRule(match_uid=-1)),
    ("AppRule.match_cgroup", lambda: AppRule(match_cgroup="user.slice")),
    ("AppRule.match_domains", lambda: AppRule(match_domains=("a b..",))),
]


@pytest.mark.parametrize(("field", "make"), WRONG)
def test_an_error_names_the_field(field: str, make: Callable[[], object]) -> None:
    with pytest.raises(LocalError) as caught:
        make()
    assert str(caught.value).startswith(f"{field}: ")
    assert "\n" not in str(caught.value)


@given(st.lists(st.text(max_size=20), max_size=3))
def test_any_text_is_taken_or_refused_with_a_local_error(values: list[str]) -> None:
    for make in (IPv4Settings, IPv6Settings, DNSSettings):
        with suppress(LocalError):
            make(values)


def test_network_rules() -> None:
    net = NetworkRule("10.0.0.0/8", 443, NetworkRuleProtocol.TCP)
    assert net.matches("tcp", endpoint("10.1.2.3", 443), None)
    assert not net.matches("udp", endpoint("10.1.2.3", 443), None)
    assert not net.matches("tcp", endpoint("10.1.2.3", 80), None)
    assert not net.matches("tcp", endpoint("11.1.2.3", 443), None)
    assert not net.matches("tcp", endpoint("fd00::1", 443), None)
    domain = NetworkRule("example.com")
    assert domain.matches("udp", endpoint("1.2.3.4", 1), "www.Example.com.")
    assert domain.matches("udp", endpoint("example.com", 1), None)
    assert not domain.matches("udp", endpoint("1.2.3.4", 1), "notexample.com")
    assert not domain.matches("udp", endpoint("1.2.3.4", 1), None)
    assert not NetworkRule("printer").matches("tcp", endpoint("1.2.3.4", 1), "a.printer")
    assert NetworkRule().matches("tcp", endpoint("1.2.3.4", 1), None)
    assert not NetworkRule().matches("tcp", endpoint("127.0.0.1", 1), None)


def test_app_rules() -> None:
    curl = ProcessInfo(1, "/usr/bin/curl", "curl", 1000, "/user.slice/a.scope")
    assert AppRule("/usr/bin/curl").matches(curl, None)
    assert AppRule("/usr/bin/*").matches(curl, None)
    assert AppRule(match_uid=1000, match_cgroup="/user.slice").matches(curl, None)
    assert not AppRule(match_uid=1000, match_path="/usr/bin/wget").matches(curl, None)
    assert not AppRule(match_cgroup="/user").matches(curl, None)
    assert not AppRule(match_uid=0).matches(None, "example.com")
    assert AppRule(match_domains=("example.com",)).matches(None, "www.example.com")
    assert not AppRule(match_domains=("example.com",)).matches(curl, None)
