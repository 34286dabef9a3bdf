"""Checks of settings: each raises LocalError with one line that names the field and says what is accepted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from tunflow.addresses import ip_address, ip_network
from tunflow.errors import LocalError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
_LABEL = re.compile(r"[a-z0-9_-]{1,63}", re.ASCII)


def address(field: str, value: str | Address) -> Address:
    """An IP address of either family."""
    try:
        return ip_address(value)
    except ValueError:
        raise LocalError(f"{field}: {value!r} is not an IP address: expected one like 10.0.0.1 or fd00::1") from None


def address4(field: str, value: str | Address) -> IPv4Address:
    """An IPv4 address."""
    found = address(field, value)
    if isinstance(found, IPv6Address):
        raise LocalError(f"{field}: {found} is an IPv6 address: expected an IPv4 address")
    return found


def address6(field: str, value: str | Address) -> IPv6Address:
    """An IPv6 address."""
    found = address(field, value)
    if isinstance(found, IPv4Address):
        raise LocalError(f"{field}: {found} is an IPv4 address: expected an IPv6 address")
    return found


def prefix4(field: str, mask: str) -> int:
    """The length of a subnet mask's prefix."""
    try:
        return IPv4Network(f"0.0.0.0/{address4(field, mask)}").prefixlen
    except ValueError:
        raise LocalError(f"{field}: {mask!r} is not a subnet mask: expected one like 255.255.255.0") from None


def within(field: str, value: object, least: int, most: int) -> int:
    """A whole number in a range."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise LocalError(f"{field}: {value!r} is not a number from {least} to {most}")
    return value


def network(field: str, value: str | Network) -> Network:
    """A network in CIDR notation, without host bits."""
    try:
        return ip_network(value)
    except ValueError as error:
        raise LocalError(f"{field}: {value!r} is not a network: {error}") from None


def domain(field: str, value: object) -> str:
    """A domain name, in lower case and without a final dot; "" is allowed and means every name."""
    if not isinstance(value, str):
        raise LocalError(f"{field}: {value!r} is not a domain name: expected text")
    name = value.lower().removesuffix(".")
    if len(name) > 253 or (name and not all(_LABEL.fullmatch(label) for label in name.split("."))):
        raise LocalError(
            f"{field}: {value!r} is not a domain name: expected labels of 1 to 63 letters, digits, - and _"
        )
    return name


def texts(field: str, values: Iterable[str] | str) -> tuple[str, ...]:
    """Several strings; one string alone is the mistake that this catches."""
    if isinstance(values, str):
        raise LocalError(f"{field}: expected a list, not {values!r} alone")
    return tuple(values)
