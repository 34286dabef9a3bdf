"""The network that a captured program sees: a loopback, one TUN device, and the tunnel behind it.

The addresses never meet another network: they exist in the program's own namespace and in our stack only.
"""

from __future__ import annotations

from dataclasses import dataclass

OFFLOAD_MTU = 1500
"""With offload the kernel hands over super-segments of up to 64 KB whatever the MTU, so the program keeps the
segment size, and the path MTU that QUIC and DNS count on, of an ordinary network."""

PLAIN_MTU = 65535
"""Without offload each packet costs a read and a walk through the stack, so packets had better be as large as an
IPv4 header can say (RFC 791 §3.1, total length)."""


@dataclass(frozen=True, slots=True)
class PrivateNetwork:
    """Names and addresses inside. `address…` are the program's own, `resolver…` are answered by the tunnel."""

    device: str = "tunflow0"
    address4: str = "198.18.0.1"
    resolver4: str = "198.18.0.2"
    prefix4: int = 30
    """RFC 2544 appendix C.2.2 sets 198.18.0.0/15 aside for private tests: nobody's LAN is there."""
    address6: str = "fd74:756e:666c:6f77::1"
    resolver6: str = "fd74:756e:666c:6f77::2"
    prefix6: int = 126
    """A unique local prefix (RFC 4193) that spells "tunflow". Its label in RFC 6724 §2.1 differs from that of public
    IPv6, so a program that follows that RFC tries IPv4 first where a name has both."""
