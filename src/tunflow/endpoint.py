"""Where a flow goes: a host and a port.

A host is a packed address (4 or 16 bytes, as it stands in the packet) or a name that nobody has resolved yet.
Packed addresses keep the hot path free of `ipaddress` objects.
"""

from __future__ import annotations

from typing import NamedTuple

from tunflow.addresses import ip_address

Buffer = bytes | bytearray | memoryview
"""Anything with bytes in it that `sendmsg`, `writev` and the ciphers take without a copy."""


class Endpoint(NamedTuple):
    """A transport address: `host` is a packed IP address (bytes) or a host name (str), `port` is 0..65535."""

    host: bytes | str
    port: int

    @property
    def host_text(self) -> str:
        """The host as people write it, without brackets."""
        return self.host if isinstance(self.host, str) else str(ip_address(self.host))

    def __str__(self) -> str:
        host = self.host_text
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


SocketAddress = tuple[str, int] | tuple[str, int, int, int]
"""Host, port and, for IPv6, flow label and scope: what `connect`, `sendto` and `recvfrom` take and give."""


class Address(NamedTuple):
    """What a socket connects to, with the family (`AF_INET`, `AF_INET6`) that the socket must have."""

    family: int
    sockaddr: SocketAddress

    def with_port(self, port: int) -> Address:
        """The same host's other port."""
        host, _, *rest = self.sockaddr
        return Address(self.family, (host, port, *rest))  # type: ignore[arg-type]  # of either length


def endpoint(host: str, port: int) -> Endpoint:
    """An `Endpoint` from text: an IPv4 or IPv6 address is packed, anything else is kept as a name."""
    try:
        return Endpoint(ip_address(host).packed, port)
    except ValueError:
        return Endpoint(host, port)
