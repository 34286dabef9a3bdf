"""Kinds of text that several sections of a profile hold, checked and brought into one form."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator

from tunflow.addresses import ip_address, ip_interface, ip_network
from tunflow.profiles.minisign import MinisignKey
from tunflow.rules.domains import normalise
from tunflow.urls import parse_web_address


def _checked(parse: Callable[[str], object], accepted: str) -> Callable[[str], str]:
    """A check that keeps the text that `parse` gives."""

    def check(text: str) -> str:
        try:
            return str(parse(text))
        except ValueError:
            raise ValueError(f"must be {accepted}") from None

    return check


def _domain(text: str) -> str:
    name = normalise(text.strip("."))
    if not set(name).isdisjoint("*?#"):
        raise ValueError
    return name


def _web_address(text: str) -> str:
    parse_web_address(text)
    return text


def _minisign_key(text: str) -> str:
    MinisignKey.of(text)
    return text


def _moment(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError
    return text


Moment = Annotated[str, AfterValidator(_checked(_moment, "a moment with its zone, like 2026-03-02T15:30:00+00:00"))]
"""A moment in ISO 8601."""
SignedBy = Annotated[
    str, AfterValidator(_checked(_minisign_key, "a minisign public key: RW… in base64, as `minisign -G` prints it"))
]
"""Whose signature a fetched file must have."""
Address = Annotated[str, AfterValidator(_checked(ip_address, "an address like 10.0.0.1 or fd00::1"))]
"""An IPv4 or IPv6 address."""
Network = Annotated[
    str, AfterValidator(_checked(ip_network, "a network like 10.0.0.0/8 or fd00::/8, no bit set behind the prefix"))
]
"""A network in CIDR notation."""
Interface = Annotated[str, AfterValidator(_checked(ip_interface, "an address with its prefix, like 10.0.0.2/24"))]
"""An address with the length of its prefix."""
Domain = Annotated[str, AfterValidator(_checked(_domain, "a domain like example.com, without wildcards"))]
"""A domain name, in lower case and without a dot at its ends."""
WebAddress = Annotated[
    str,
    AfterValidator(_checked(_web_address, "an http:// or https:// URL in ASCII, its port from 1 to 65535")),
]
"""Where to fetch something."""
