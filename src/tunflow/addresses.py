"""IP addresses and networks in text that others wrote; the module `ipaddress` behind one documented error.

A zone (`fe80::1%eth0`) is kept only where it is asked for: a packet has none, so it would be lost without a word.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

Packed = tuple[bytes, int]
"""A packed address and the length of a prefix."""


class NotAnAddress(ValueError):
    """Text is no address, or no network, or has a zone."""


def ip_address(
    value: str | bytes | int | IPv4Address | IPv6Address, *, zone: bool = False
) -> IPv4Address | IPv6Address:
    """An address from text, its packed form or its number. `zone`: it may have one. Raises NotAnAddress."""
    try:
        found = ipaddress.ip_address(value)
    except ValueError as error:
        raise NotAnAddress(str(error)) from None
    if isinstance(found, IPv6Address) and found.scope_id is not None and not zone:
        raise NotAnAddress(f"{value!r} has a zone, which means nothing here")
    return found


def ip_network(
    value: str | Packed | IPv4Address | IPv6Address | IPv4Network | IPv6Network, *, strict: bool = True
) -> IPv4Network | IPv6Network:
    """A network from text, or from an address and a length. `strict`: no bit behind it is set. Raises NotAnAddress."""
    try:
        return ipaddress.ip_network(value, strict=strict)
    except ValueError as error:
        raise NotAnAddress(str(error)) from None


def ip_interface(value: str | Packed) -> IPv4Interface | IPv6Interface:
    """An address with the length of its prefix, from text or from both. Raises NotAnAddress."""
    try:
        found = ipaddress.ip_interface(value)
    except ValueError as error:
        raise NotAnAddress(str(error)) from None
    if isinstance(found, IPv6Interface) and found.scope_id is not None:
        raise NotAnAddress(f"{value!r} has a zone, which means nothing here")
    return found
