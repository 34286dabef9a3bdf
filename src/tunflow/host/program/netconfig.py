"""Gives the new network namespace its addresses, routes and settings.

Runs in the child, inside the namespace. Failing to set up IPv4 is an error; IPv6 is left out where the kernel does
not have it. Neither can leak: the namespace holds no device but the loopback and our TUN, so what has no route there
has no way out at all.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tunflow.host.netlink.setup import (
    NO_IPV6,
    QUEUE,
    add_address,
    add_default_route,
    forgo_link_local,
    set_mtu,
    set_queue,
    set_up,
)
from tunflow.host.netlink.socket import RouteSocket
from tunflow.host.program.private_network import PrivateNetwork


def configure(network: PrivateNetwork, mtu: int) -> None:
    """Bring up the loopback and the TUN `network.device`, with addresses and default routes. Raises OSError."""
    with RouteSocket() as route:
        set_up(route, socket.if_nametoindex("lo"))
        tun = socket.if_nametoindex(network.device)
        set_mtu(route, tun, mtu)
        set_queue(route, tun, QUEUE)
        with _where_ipv6_exists():
            forgo_link_local(route, tun)
        set_up(route, tun)
        add_address(route, tun, network.address4, network.prefix4)
        add_default_route(route, tun, socket.AF_INET)
        with _where_ipv6_exists():
            add_address(route, tun, network.address6, network.prefix6)
            add_default_route(route, tun, socket.AF_INET6)


def tune() -> None:
    """Set the sysctls of the namespace that help and cannot hurt; what the kernel refuses stays as it is.

    - `ping_group_range`: lets ping(8) use an ICMP socket (icmp(7)) where it has no capability for a raw one. As root
      every group, as systemd sets it on the host, because the program may become another user; otherwise the one
      group that the user namespace knows.
    - `tcp_congestion_control`: a new namespace inherits the host's. The hop into the TUN is local and lossless, so
      BBR's pacing would only cost time there; the real path belongs to the sockets outside, which keep the host's.
      Reno is as good here, and allowed where a host that defaults to BBR allows no namespace to take CUBIC
      (tcp_allowed_congestion_control).
    """
    group = os.getegid()
    _set_first("ping_group_range", "0 2147483647" if os.geteuid() == 0 else f"{group} {group}")
    _set_first("tcp_congestion_control", "cubic", "reno")


def _set_first(name: str, *values: str) -> None:
    """Set an IPv4 sysctl to the first of `values` that the kernel takes."""
    for value in values:
        with suppress(OSError):
            Path(f"/proc/sys/net/ipv4/{name}").write_text(value, encoding="ascii")
            return


@contextmanager
def _where_ipv6_exists() -> Iterator[None]:
    """Passes over the errors that mean "this kernel has no IPv6", and no other."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_IPV6:
            raise
