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


def endpoint(host: str, port: int) -> Endpoint:
    """An `Endpoint` from text: an IPv4 or IPv6 address is packed, anything else is kept as a name."""
    try:
        return Endpoint(ip_address(host).packed, port)
    except ValueError:
        return Endpoint(host, port)
