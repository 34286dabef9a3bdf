"""Martians: addresses that no packet through a tunnel can come from or go to.

One table for every protocol. A row follows the columns "Source" and "Destination" of the special-purpose registries
(RFC 6890 §2.2.2 and §2.2.3); the rows that are not there come from the RFC that they quote. What the registries
only advise against stays allowed, because it works and is used: private and shared addresses (a tunnel's usual
ends), 169.254.0.0/16 (cloud VPNs number their tunnels from it), the documentation and benchmark blocks.

Groups and broadcast are destinations that no proxy protocol can carry, and what a client shouts at its own link
(mDNS, SSDP, LLMNR) must not leave it: they are dropped without a word (RFC 1122 §3.2.2). The broadcast address of a
subnet is not to be told from a host's: nobody tells a stack the client's prefix length.

Read first: RFC 1812 §5.3.7 (martian address filtering), RFC 6890, RFC 4291 §2.5 and §2.7.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

from tunflow.addresses import ip_network


class Block(NamedTuple):
    """One row: a block, and whether it may be the source and the destination of a packet."""

    network: IPv4Network | IPv6Network
    source: bool
    destination: bool


def _block(network: str, *, source: bool = False, destination: bool = False) -> Block:
    return Block(ip_network(network), source, destination)


BLOCKS = (
    _block("0.0.0.0/8"),  # RFC 1122 §3.2.1.3: this host on this network
    _block("127.0.0.0/8"),  # RFC 1122 §3.2.1.3: loopback
    _block("224.0.0.0/4"),  # RFC 5771: multicast
    _block("240.0.0.0/4"),  # RFC 1112 §4: reserved; the last address is limited broadcast, RFC 919 §7
    _block("::/96"),  # RFC 4291 §2.5.2, §2.5.3, §2.5.5.1: unspecified, loopback, the deprecated IPv4-compatible
    _block("::ffff:0:0/96"),  # RFC 4291 §2.5.5.2: IPv4-mapped, a notation and not an address on any wire
    _block("fe80::/10", source=True),  # RFC 4291 §2.5.6: link-local, which no router forwards to another link
    _block("ff00::/8"),  # RFC 4291 §2.7: multicast
)
"""What is not listed may be both. IPv4 blocks are at most /8, so the first byte tells."""


def _first_bytes(blocks: list[Block]) -> frozenset[int]:
    networks = [block.network for block in blocks if block.network.version == 4]
    return frozenset(first for first in range(256) for network in networks if _holds(network, first))


def _holds(network: IPv4Network | IPv6Network, first: int) -> bool:
    assert network.prefixlen <= 8
    return first >> (8 - network.prefixlen) == network.network_address.packed[0] >> (8 - network.prefixlen)


def _prefixes(blocks: list[Block]) -> tuple[tuple[int, int], ...]:
    """How far to shift a 128-bit address, and what is left then."""
    networks = [block.network for block in blocks if block.network.version == 6]
    return tuple(
        (128 - network.prefixlen, int(network.network_address) >> (128 - network.prefixlen)) for network in networks
    )


_NO_SOURCE = [block for block in BLOCKS if not block.source]
_NO_DESTINATION = [block for block in BLOCKS if not block.destination]
_SOURCE_BYTES, _SOURCE_PREFIXES = _first_bytes(_NO_SOURCE), _prefixes(_NO_SOURCE)
_DESTINATION_BYTES, _DESTINATION_PREFIXES = _first_bytes(_NO_DESTINATION), _prefixes(_NO_DESTINATION)


def may_be_source(address: bytes) -> bool:
    """Return True if a packet can come from a packed address."""
    if len(address) == 4:
        return address[0] not in _SOURCE_BYTES
    number = int.from_bytes(address, "big")
    return all(number >> shift != prefix for shift, prefix in _SOURCE_PREFIXES)


def may_be_destination(address: bytes) -> bool:
    """Return True if a packet can go to a packed address."""
    if len(address) == 4:
        return address[0] not in _DESTINATION_BYTES
    number = int.from_bytes(address, "big")
    return all(number >> shift != prefix for shift, prefix in _DESTINATION_PREFIXES)
