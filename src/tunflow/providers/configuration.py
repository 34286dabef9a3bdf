"""What a provider is configured with: NETunnelProviderProtocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class TunnelProviderProtocol:
    """NETunnelProviderProtocol: `provider_configuration` is the provider's own, whatever it likes to be told."""

    provider_configuration: Mapping[str, Any] = field(default_factory=dict)
    server_address: str | None = None
    username: str | None = None
    disconnect_on_sleep: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "provider_configuration", MappingProxyType(dict(self.provider_configuration)))
