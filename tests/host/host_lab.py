"""A host for a test: a network namespace with an uplink, a bridge and another VPN, and what it looks like."""

from __future__ import annotations

import select
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_interface

from tun_lab import net_namespace

from tunflow.host.netlink.messages import RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE
from tunflow.host.netlink.socket import open_socket
from tunflow.host.network.settings import HostSettings

ADDRESSES = (ip_interface("198.18.0.1/30"), ip_interface("fd74:756e:666c:6f77::1/126"))
SETTINGS = HostSettings(addresses=ADDRESSES)
NETWORK = """
sysctl -q -w net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
ip link set lo up
ip link add eth0 type veth peer name wire0
ip link set eth0 up
ip link set wire0 up
ip addr add 192.168.1.2/24 dev eth0
ip route add default via 192.168.1.1
ip addr add 2001:db8:1::2/64 dev eth0 nodad
ip route add default via 2001:db8:1::1
ip link add docker0 type bridge
ip link add inner type veth peer name inside
ip link set inner master docker0
ip link set inner up
ip link set inside up
ip link set docker0 up
ip addr add 172.17.0.1/16 dev docker0
ip addr add 2001:db8:d0::1/64 dev docker0 nodad
ip tuntap add dev vpn0 mode tun
ip link set vpn0 up
ip route add 100.100.0.0/16 dev vpn0 table 99
ip route add 2001:db8:99::/48 dev vpn0 table 99
ip rule add table 99 pref 20000
ip -6 rule add table 99 pref 20000
"""
FACTS = (
    "ip rule", "ip -6 rule", "ip route show table all", "ip -6 route show table all", "nft list ruleset",
    "ip -o link", "ip -o addr",
    "grep -rs . /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf /proc/sys/net/ipv4/ip_forward",
)  # fmt: skip


@contextmanager
def host() -> Iterator[None]:
    """Be on that host. Works as a decorator."""
    with net_namespace():
        with open_socket(socket.NETLINK_ROUTE, RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE) as changes:
            for line in NETWORK.strip().splitlines():
                run(line)
            while not _has_settled():
                assert select.select([changes], [], [], 30)[0], run("ip -o addr; ip -6 route show table all")
                changes.recv(65536)
        yield


def _has_settled() -> bool:
    """Return True once the bridge has a carrier, and with it an address and routes of its own, which it gets a while
    after its port is up, and once all addresses have their routes."""
    own = run("ip -o -6 addr show dev docker0 scope link -tentative")
    addresses = {line.split()[3].partition("/")[0] for line in run("ip -o -6 addr show").splitlines()}
    return "inet6" in own and addresses <= set(run("ip -6 route show table local type local").split())


def run(command: str) -> str:
    """What a shell command prints. Raises CalledProcessError."""
    return subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True).stdout


def snapshot() -> str:
    """All that a tunnel may change, as the system's own tools show it."""
    return "\n".join(f"# {command}\n{_fact(command)}" for command in FACTS)


def _fact(command: str) -> str:
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    volatile = ("expires", "stable_secret")
    return "\n".join(sorted(line for line in done.stdout.splitlines() if not any(word in line for word in volatile)))


def way(destination: str, *more: str) -> str:
    """The interface that packets to `destination` leave by, or the kernel's refusal."""
    done = subprocess.run(["ip", "route", "get", destination, *more], capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr.strip()
    words = done.stdout.split()
    return words[0] if words[0] == "unreachable" else words[words.index("dev") + 1]
