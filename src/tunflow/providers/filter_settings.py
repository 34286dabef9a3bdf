"""Rules that decide before a filter is asked, and a filter's configuration: NEFilterRule, NEFilterSettings and
NEFilterProviderConfiguration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tunflow.errors import LocalError
from tunflow.providers.network_rule import NetworkRule

MAX_RULES = 1000


class FilterAction(Enum):
    """What a filter rule does."""

    ALLOW = "allow"
    DROP = "drop"
    FILTER_DATA = "filter_data"
    """Ask the provider."""


@dataclass(frozen=True, slots=True)
class FilterRule:
    """NEFilterRule: flows that match are treated so."""

    network_rule: NetworkRule
    action: FilterAction


@dataclass(frozen=True, slots=True)
class FilterSettings:
    """NEFilterSettings: the first rule that matches counts. Raises LocalError."""

    rules: tuple[FilterRule, ...] = ()
    default_action: FilterAction = FilterAction.FILTER_DATA

    def __post_init__(self) -> None:
        if len(self.rules) > MAX_RULES:
            raise LocalError(f"FilterSettings.rules: {len(self.rules)} rules, at most {MAX_RULES} are accepted")
        if self.default_action is not FilterAction.FILTER_DATA and not self.rules:
            raise LocalError("FilterSettings.default_action: allow and drop need at least one rule")


@dataclass(frozen=True, slots=True)
class FilterProviderConfiguration:
    """NEFilterProviderConfiguration."""

    vendor_configuration: Mapping[str, Any] = field(default_factory=dict)
    """The profile's `[filter.configuration]` table, for the provider."""
    username: str | None = None
    organization: str | None = None
    filter_sockets: bool = True
