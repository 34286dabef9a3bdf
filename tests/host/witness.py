"""Sees what leaves by the uplink of a host in namespaces of its own, at the wire's far end."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from host_lab import host, run

ETH_P_ALL = 3
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
PACKET_OUTGOING = 4

ROUTERS = """
ip neigh add 192.168.1.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent
ip neigh add 192.168.1.7 lladdr 02:00:00:00:00:01 dev eth0 nud permanent
ip neigh add 2001:db8:1::1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent
ip neigh add 2001:db8:1::7 lladdr 02:00:00:00:00:01 dev eth0 nud permanent
ip link set wire0 promisc on
"""


class Witness:
    """Sees the IP packets that come out of the uplink."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(ETH_P_ALL)
        )
        self._socket.bind(("wire0", ETH_P_ALL))

    def seen(self, *, multicast: bool = False) -> set[str]:
        """Destinations since the last call; those of IPv6 multicast only when asked for."""
        found = set()
        with contextlib.suppress(BlockingIOError):
            while True:
                packet, (_, protocol, kind, *_) = self._socket.recvfrom(2048)
                if kind == PACKET_OUTGOING:
                    continue
                if protocol == ETH_P_IP:
                    found.add(socket.inet_ntop(socket.AF_INET, packet[16:20]))
                elif protocol == ETH_P_IPV6 and (multicast or packet[24] != 0xFF):
                    found.add(socket.inet_ntop(socket.AF_INET6, packet[24:40]))
        return found

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def witnessed() -> Iterator[Witness]:
    """A host with neighbours that answer nothing, and its witness."""
    with host():
        for line in ROUTERS.strip().splitlines():
            run(line)
        made = Witness()
        try:
            yield made
        finally:
            made.close()
