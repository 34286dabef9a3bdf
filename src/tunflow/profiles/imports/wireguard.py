"""A wg-quick file as what a profile says: its provider and the provider's configuration."""

from __future__ import annotations

from typing import Any

from tunflow.protocols.wireguard.config_file import format_config, parse_config

PROVIDER = "wireguard"


def provider_of_config(content: bytes, name: str) -> dict[str, Any]:
    """The profile's keys for a file that errors call `name`. Raises LocalError with its line."""
    settings = parse_config(content.decode("utf-8-sig", errors="replace"), name)
    found: dict[str, Any] = {"config": format_config(settings)}
    if settings.told:
        found["told"] = list(settings.told)
    return {"provider": PROVIDER, "provider_configuration": found}
