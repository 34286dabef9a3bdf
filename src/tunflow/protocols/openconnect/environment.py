"""What a server assigned to its client, as `openconnect` tells its script: variables of the environment.

The names are those of vpnc's script. Read first: the head of vpnc-script, openconnect(8) on `--script`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeVar

from tunflow.addresses import ip_address, ip_interface, ip_network
from tunflow.errors import BadPacket
from tunflow.numbers import NotANumber, whole_number

MOST_NETWORKS = 2000
SMALLEST_MTU = 576

Network = IPv4Network | IPv6Network
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Assigned:
    """Addresses, networks, names and the size of packets."""

    addresses: tuple[str, ...]
    """One of each IP version at most, with its prefix length."""
    mtu: int | None
    resolvers: tuple[IPv4Address | IPv6Address, ...]
    search_domains: tuple[str, ...]
    match_domains: tuple[str, ...]
    """Domains whose names alone are asked of `resolvers`; none for all names."""
    included: tuple[Network, ...]
    """What goes into the tunnel."""
    excluded: tuple[Network, ...]


def assigned_untrusted(environment: Mapping[str, str]) -> Assigned:
    """What the variables say. Raises BadPacket that names the variable."""
    addresses = tuple(_addresses(environment))
    if not addresses:
        raise BadPacket("the server assigned no address")
    included: tuple[Network, ...] = (
        *_networks(environment, "CISCO_SPLIT_INC"),
        *_networks(environment, "CISCO_IPV6_SPLIT_INC"),
    )
    versions = {6 if ":" in address else 4 for address in addresses}
    whole: dict[int, Network] = {4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")}
    if not included:
        included = tuple(whole[version] for version in sorted(versions))
    return Assigned(
        addresses,
        _mtu(environment.get("INTERNAL_IP4_MTU", "")),
        tuple(
            _parsed(variable, word, ip_address)
            for variable in ("INTERNAL_IP4_DNS", "INTERNAL_IP6_DNS")
            for word in environment.get(variable, "").split()
        ),
        tuple(environment.get("CISCO_DEF_DOMAIN", "").split()),
        tuple(environment.get("CISCO_SPLIT_DNS", "").replace(",", " ").split()),
        tuple(network for network in included if network.version in versions),
        (*_networks(environment, "CISCO_SPLIT_EXC"), *_networks(environment, "CISCO_IPV6_SPLIT_EXC")),
    )


def _addresses(environment: Mapping[str, str]) -> Iterator[str]:
    address = environment.get("INTERNAL_IP4_ADDRESS")
    if address:
        text = f"{address}/{environment.get('INTERNAL_IP4_NETMASKLEN') or 32}"
        yield str(_parsed("INTERNAL_IP4_ADDRESS", text, ip_interface))
    address = environment.get("INTERNAL_IP6_NETMASK") or environment.get("INTERNAL_IP6_ADDRESS")
    if address:
        yield str(_parsed("INTERNAL_IP6_ADDRESS", address, ip_interface))


def _networks(environment: Mapping[str, str], name: str) -> Iterator[Network]:
    for index in range(_number(name, environment.get(name, "0"), MOST_NETWORKS)):
        variable = f"{name}_{index}_ADDR"
        address = environment.get(variable, "")
        length = environment.get(f"{name}_{index}_MASKLEN", "")
        text = address if "/" in address else f"{address}/{length}"
        yield _parsed(variable, text, _network)


def _network(text: str) -> Network:
    return ip_network(text, strict=False)


def _mtu(text: str) -> int | None:
    if not text:
        return None
    mtu = _number("INTERNAL_IP4_MTU", text, 65535)
    if mtu < SMALLEST_MTU:
        raise BadPacket(f"INTERNAL_IP4_MTU is {mtu}, less than {SMALLEST_MTU}")
    return mtu


def _number(variable: str, text: str, limit: int) -> int:
    try:
        return whole_number(text, limit)
    except NotANumber:
        raise BadPacket(f"{variable} is {text[:60]!r}, which is no number up to {limit}") from None


def _parsed(variable: str, text: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(text)
    except ValueError:
        raise BadPacket(f"{variable} is {text[:60]!r}") from None
