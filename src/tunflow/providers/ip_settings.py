"""The tunnel interface's addresses and routes: NEIPv4Settings, NEIPv6Settings and their routes.

Values are checked where they are made; an error names the field. Text is parsed once: what is kept are `ipaddress`
objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import TypeVar

from tunflow.errors import LocalError
from tunflow.providers import check

T = TypeVar("T")


@dataclass(frozen=True, init=False, slots=True)
class IPv4Route:
    """NEIPv4Route: a destination; without a gateway it leads to the tunnel's interface."""

    destination: IPv4Network
    gateway_address: IPv4Address | None

    def __init__(
        self, destination_address: str, subnet_mask: str | None = None, gateway_address: str | None = None
    ) -> None:
        """`IPv4Route("10.0.0.0", "255.0.0.0")` or `IPv4Route("10.0.0.0/8")`. Raises LocalError."""
        text = str(destination_address)
        if subnet_mask is not None:
            text = f"{text}/{check.prefix4('IPv4Route.subnet_mask', subnet_mask)}"
        found = check.network("IPv4Route.destination_address", text)
        if not isinstance(found, IPv4Network):
            raise LocalError(f"IPv4Route.destination_address: {found} is an IPv6 network: expected an IPv4 network")
        gateway = None if gateway_address is None else check.address4("IPv4Route.gateway_address", gateway_address)
        object.__setattr__(self, "destination", found)
        object.__setattr__(self, "gateway_address", gateway)

    @classmethod
    def default(cls) -> IPv4Route:
        """Everything: 0.0.0.0/0."""
        return cls("0.0.0.0/0")


@dataclass(frozen=True, init=False, slots=True)
class IPv6Route:
    """NEIPv6Route: a destination; without a gateway it leads to the tunnel's interface."""

    destination: IPv6Network
    gateway_address: IPv6Address | None

    def __init__(
        self, destination_address: str, network_prefix_length: int | None = None, gateway_address: str | None = None
    ) -> None:
        """`IPv6Route("fd00::", 8)` or `IPv6Route("fd00::/8")`. Raises LocalError."""
        text = str(destination_address)
        if network_prefix_length is not None:
            text = f"{text}/{check.within('IPv6Route.network_prefix_length', network_prefix_length, 0, 128)}"
        found = check.network("IPv6Route.destination_address", text)
        if not isinstance(found, IPv6Network):
            raise LocalError(f"IPv6Route.destination_address: {found} is an IPv4 network: expected an IPv6 network")
        gateway = None if gateway_address is None else check.address6("IPv6Route.gateway_address", gateway_address)
        object.__setattr__(self, "destination", found)
        object.__setattr__(self, "gateway_address", gateway)

    @classmethod
    def default(cls) -> IPv6Route:
        """Everything: ::/0."""
        return cls("::/0")


@dataclass(frozen=True, init=False, slots=True)
class IPv4Settings:
    """NEIPv4Settings: the interface's addresses, what goes into the tunnel and what does not.

    `included_routes` empty: only the addresses' own networks. What is excluded goes out as if there were no tunnel.
    """

    addresses: tuple[IPv4Interface, ...]
    included_routes: tuple[IPv4Route, ...]
    excluded_routes: tuple[IPv4Route, ...]

    def __init__(
        self,
        addresses: Sequence[str],
        subnet_masks: Sequence[str] | None = None,
        *,
        included_routes: Iterable[IPv4Route] = (),
        excluded_routes: Iterable[IPv4Route] = (),
    ) -> None:
        """`IPv4Settings(["10.0.0.2"], ["255.255.255.0"])` or `IPv4Settings(["10.0.0.2/24"])`. Raises LocalError."""
        texts = check.texts("IPv4Settings.addresses", addresses)
        masks = None if subnet_masks is None else check.texts("IPv4Settings.subnet_masks", subnet_masks)
        if masks is not None:
            if len(masks) != len(texts):
                raise LocalError(f"IPv4Settings.subnet_masks: {len(masks)} masks for {len(texts)} addresses: one each")
            prefixes = [check.prefix4("IPv4Settings.subnet_masks", mask) for mask in masks]
            texts = tuple(f"{text}/{prefix}" for text, prefix in zip(texts, prefixes, strict=True))
        found = tuple(_interface4(text) for text in texts)
        if not found:
            raise LocalError("IPv4Settings.addresses: expected at least one address")
        object.__setattr__(self, "addresses", found)
        included = _routes("IPv4Settings.included_routes", included_routes, IPv4Route)
        object.__setattr__(self, "included_routes", included)
        excluded = _routes("IPv4Settings.excluded_routes", excluded_routes, IPv4Route)
        object.__setattr__(self, "excluded_routes", excluded)


@dataclass(frozen=True, init=False, slots=True)
class IPv6Settings:
    """NEIPv6Settings: the interface's addresses, what goes into the tunnel and what does not."""

    addresses: tuple[IPv6Interface, ...]
    included_routes: tuple[IPv6Route, ...]
    excluded_routes: tuple[IPv6Route, ...]

    def __init__(
        self,
        addresses: Sequence[str],
        network_prefix_lengths: Sequence[int] | None = None,
        *,
        included_routes: Iterable[IPv6Route] = (),
        excluded_routes: Iterable[IPv6Route] = (),
    ) -> None:
        """`IPv6Settings(["fd00::2"], [64])` or `IPv6Settings(["fd00::2/64"])`. Raises LocalError."""
        texts = check.texts("IPv6Settings.addresses", addresses)
        if network_prefix_lengths is not None:
            field = "IPv6Settings.network_prefix_lengths"
            lengths = [check.within(field, length, 0, 128) for length in network_prefix_lengths]
            if len(lengths) != len(texts):
                raise LocalError(f"{field}: {len(lengths)} lengths for {len(texts)} addresses: one each")
            texts = tuple(f"{text}/{length}" for text, length in zip(texts, lengths, strict=True))
        found = tuple(_interface6(text) for text in texts)
        if not found:
            raise LocalError("IPv6Settings.addresses: expected at least one address")
        object.__setattr__(self, "addresses", found)
        included = _routes("IPv6Settings.included_routes", included_routes, IPv6Route)
        object.__setattr__(self, "included_routes", included)
        excluded = _routes("IPv6Settings.excluded_routes", excluded_routes, IPv6Route)
        object.__setattr__(self, "excluded_routes", excluded)


def _interface4(text: str) -> IPv4Interface:
    host, _, prefix = str(text).partition("/")
    found = check.address4("IPv4Settings.addresses", host)
    try:
        return IPv4Interface(f"{found}/{prefix or 32}")
    except ValueError:
        raise LocalError(f"IPv4Settings.addresses: {text!r} has no prefix length from 0 to 32") from None


def _interface6(text: str) -> IPv6Interface:
    host, _, prefix = str(text).partition("/")
    found = check.address6("IPv6Settings.addresses", host)
    try:
        return IPv6Interface(f"{found}/{prefix or 128}")
    except ValueError:
        raise LocalError(f"IPv6Settings.addresses: {text!r} has no prefix length from 0 to 128") from None


def _routes(field: str, routes: Iterable[T], kind: type[T]) -> tuple[T, ...]:
    found = tuple(routes)
    for route in found:
        if not isinstance(route, kind):
            raise LocalError(f"{field}: {route!r} is not an {kind.__name__}")
    return found
