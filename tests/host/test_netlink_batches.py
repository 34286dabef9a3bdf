"""Many requests in one system call, and dumps, against the kernel."""

from __future__ import annotations

import errno
import json
import socket
import struct
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tun_lab import ip, net_namespace

from tunflow.host.netlink.messages import LINK, RTN_UNICAST, attribute, attributes
from tunflow.host.netlink.policy_rules import PolicyRule, list_rules, set_rules
from tunflow.host.netlink.routes import THROW, UNREACHABLE, RouteTarget, has_foreign_routes, list_routes, set_table
from tunflow.host.netlink.setup import set_up
from tunflow.host.netlink.socket import NetlinkRequest, RouteSocket

RTM_NEWLINK, RTM_GETLINK = 16, 18


@given(st.dictionaries(st.integers(1, 0x3FFF), st.binary(max_size=70), max_size=6))
def test_attributes_are_read_as_they_were_written(wanted: dict[int, bytes]) -> None:
    body = b"head" + b"".join(attribute(kind, value) for kind, value in wanted.items())
    assert attributes(body, 4) == wanted


@given(st.binary(max_size=64))
def test_attributes_cut_short_are_left_out(body: bytes) -> None:
    assert all(len(value) <= len(body) for value in attributes(body, 0).values())


def _nothing(number: int) -> NetlinkRequest:
    """A request for a link that is not there."""
    return NetlinkRequest(RTM_NEWLINK, 0, LINK.pack(socket.AF_UNSPEC, 0, 1 << 29, 0, 0), f"request {number}")


@net_namespace()
def test_the_first_failure_is_told_and_the_socket_stays_usable() -> None:
    with RouteSocket() as route:
        for count in (1, 2, 127, 128, 129, 1000):
            with pytest.raises(OSError, match="request 0") as caught:
                route.send([_nothing(number) for number in range(count)])
            assert caught.value.errno == errno.ENODEV
        route.send([_nothing(number) for number in range(300)], ignored=frozenset((errno.ENODEV,)))
        route.send([])
        set_up(route, socket.if_nametoindex("lo"))
        assert len(route.dump(RTM_GETLINK, struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 0, 0, 0))) == 1


@net_namespace()
def test_a_failure_in_the_middle_names_its_request() -> None:
    index = socket.if_nametoindex("lo")
    up = NetlinkRequest(RTM_NEWLINK, 0, struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, 1, 1), "bring up lo")
    with RouteSocket() as route, pytest.raises(OSError, match="request 7"):
        route.send([up, up, _nothing(7), up, _nothing(9)])


@net_namespace()
def test_a_table_becomes_what_is_wanted_and_nothing_else_is_touched() -> None:
    ip("link", "set", "lo", "up")
    ip("tuntap", "add", "dev", "t0", "mode", "tun")
    ip("link", "set", "t0", "up")
    ip("route", "add", "10.0.0.0/8", "dev", "t0", "table", "5000")
    index = socket.if_nametoindex("t0")
    into = RouteTarget(RTN_UNICAST, (index,))
    first = {ip_network("192.0.2.0/24"): into, ip_network("198.51.100.0/24"): THROW}
    second = {ip_network("192.0.2.0/24"): THROW, ip_network("203.0.113.0/24"): into}
    with RouteSocket() as route:
        assert has_foreign_routes(route, 4, 5000)
        assert not has_foreign_routes(route, 4, 5001)
        for wanted in (first, second, second, {}):
            set_table(route, 4, 5000, wanted)
            there = {each.destination: each.way for each in list_routes(route, 4, 5000)}
            assert there == {ip_network("10.0.0.0/8"): into, **wanted}
        assert all(each.table != 5000 for each in list_routes(route, 4, but=(5000,)))


def _protocols(*command: str) -> set[str]:
    return {each.get("protocol", "boot") for each in json.loads(ip("-j", "-d", *command))}


@pytest.mark.parametrize("version", [4, 6])
@net_namespace()
def test_networkd_leaves_rules_and_routes_without_a_device_alone(version: int) -> None:
    """It removes from the whole host what is not its own, but for what is the kernel's."""
    ip("link", "set", "lo", "up")
    network = ip_network("198.51.100.0/24" if version == 4 else "2001:db8::/32")
    family = f"-{version}"
    rules = [PolicyRule(version, 7408, 254, mark=0x2740), PolicyRule(version, 7409, 10048)]
    ip(family, "rule", "add", "pref", "20000", "table", "99", "proto", "kernel")  # nobody's of ours
    with RouteSocket() as route:
        set_table(route, version, 10048, {network: UNREACHABLE})
        set_rules(route, version, rules)
        assert list_rules(route, version) == rules
        assert _protocols(family, "rule", "show", "table", "10048") == {"kernel"}
        assert _protocols(family, "route", "show", "table", "10048") == {"kernel"}
        set_rules(route, version, [])
        assert list_rules(route, version) == []
    assert "20000" in ip(family, "rule", "show")


@pytest.mark.parametrize("version", [4, 6])
@net_namespace()
def test_what_an_older_tunflow_left_is_replaced(version: int) -> None:
    ip("link", "set", "lo", "up")
    network = ip_network("198.51.100.0/24" if version == 4 else "2001:db8::/32")
    family = f"-{version}"
    ip(family, "rule", "add", "pref", "7409", "table", "10048", "proto", "158")
    ip(family, "route", "add", "unreachable", str(network), "table", "10048", "proto", "158")
    rule = PolicyRule(version, 7409, 10048)
    with RouteSocket() as route:
        assert not has_foreign_routes(route, version, 10048)
        set_table(route, version, 10048, {network: UNREACHABLE})
        set_rules(route, version, [rule])
        assert list_rules(route, version) == [rule]
        assert _protocols(family, "rule", "show", "table", "10048") == {"kernel"}
        assert _protocols(family, "route", "show", "table", "10048") == {"kernel"}
        set_table(route, version, 10048, {})
        set_rules(route, version, [])
        assert list_routes(route, version, 10048) == []
        assert list_rules(route, version) == []
