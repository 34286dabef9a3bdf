"""A file of ShadowVPN's as what a profile says: its provider and the provider's configuration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tunflow.protocols.shadowvpn.settings import format_link, parse_file

PROVIDER = "shadowvpn"


def is_shadowvpn_file(content: bytes) -> bool:
    """Whether a file looks like the original program's: `key=value`, with its `mode` and `password`."""
    keys = {line.partition(b"=")[0].strip() for line in content.splitlines()}
    return {b"mode", b"password", b"server"} <= keys


def provider_of_file(lines: Iterable[str], name: str) -> dict[str, Any]:
    """The profile's keys for the original program's file. Raises LocalError."""
    return {"provider": PROVIDER, "provider_configuration": {"link": format_link(parse_file(lines, name))}}
