"""A ShadowVPN link or file as what a profile says: its provider and the provider's configuration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tunflow.protocols.shadowvpn.settings import SCHEME, format_link, parse_file, parse_link

PROVIDER = "shadowvpn"


def is_shadowvpn(link: str) -> bool:
    """Whether a link is one of ShadowVPN's."""
    return link.strip().lower().startswith(f"{SCHEME}://")


def provider_of(link: str) -> dict[str, Any]:
    """The profile's keys for a link. Raises LocalError."""
    return {"provider": PROVIDER, "provider_configuration": {"link": format_link(parse_link(link))}}


def is_shadowvpn_file(content: bytes) -> bool:
    """Whether a file looks like the original program's: `key=value`, with its `mode` and `password`."""
    keys = {line.partition(b"=")[0].strip() for line in content.splitlines()}
    return {b"mode", b"password", b"server"} <= keys


def provider_of_file(lines: Iterable[str], name: str) -> dict[str, Any]:
    """The profile's keys for the original program's file. Raises LocalError."""
    return {"provider": PROVIDER, "provider_configuration": {"link": format_link(parse_file(lines, name))}}
