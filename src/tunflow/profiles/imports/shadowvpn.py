"""A file of ShadowVPN's as what a profile says: its provider and the provider's configuration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tunflow.protocols.shadowvpn.settings import format_link, parse_file

PROVIDER = "shadowvpn"


def provider_of_file(lines: Iterable[str], name: str) -> dict[str, Any]:
    """The profile's keys for the original program's file. Raises LocalError."""
    return {"provider": PROVIDER, "provider_configuration": {"link": format_link(parse_file(lines, name))}}
