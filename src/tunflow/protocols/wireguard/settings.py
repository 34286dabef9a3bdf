"""A WireGuard interface as a value: what a wg-quick file, or a link, says."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

from tunflow.endpoint import Endpoint

SCHEME = "wireguard"
DEFAULT_MTU = 1420
"""Bytes of the largest inner packet: 1500 - 40 (IPv6) - 8 (UDP) - 32 (transport message)."""
SMALLEST_MTU = 576
LARGEST_MTU = 65_000
DEFAULT_PORT = 51820

Address = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """One peer. Keys are 32 bytes, `preshared_key` empty without one; `persistent_keepalive` in seconds, 0 for none."""

    public_key: bytes
    allowed_ips: tuple[Network, ...] = ()
    endpoint: Endpoint | None = None
    """An address or a name; None for a peer that calls us."""
    preshared_key: bytes = field(default=b"", repr=False)
    persistent_keepalive: int = 0


@dataclass(frozen=True, slots=True)
class WireGuardSettings:
    """One interface and its peers. Equal settings mean the same tunnel."""

    private_key: bytes = field(repr=False)
    addresses: tuple[Address, ...]
    """Our own, inside the tunnel."""
    peers: tuple[PeerSettings, ...]
    listen_port: int = 0
    """0: any port that is free."""
    dns: tuple[str, ...] = ()
    """Addresses of resolvers."""
    search_domains: tuple[str, ...] = ()
    mtu: int = DEFAULT_MTU
    tag: str | None = None
    """What the user calls it."""
    told: tuple[str, ...] = field(default=(), compare=False)
    """Lines about keys that were read and change nothing here."""

    @property
    def label(self) -> str:
        """The tunnel as logs name it, without a secret."""
        first = self.first_hop
        return f"{SCHEME}://{first}" if first is not None else f"{SCHEME} with {len(self.peers)} peers that call"

    @property
    def name(self) -> str:
        """What a profile may be called: the tag, or else where the first peer is."""
        first = self.first_hop
        return self.tag or (SCHEME if first is None else f"{first.host_text}-{first.port}")

    @property
    def first_hop(self) -> Endpoint | None:
        """Where the first peer that can be called is."""
        return next((peer.endpoint for peer in self.peers if peer.endpoint is not None), None)
