"""A way out that a provider names by its link, and may give its flows to."""

from __future__ import annotations

from typing import Protocol


class FlowDialer(Protocol):
    """Made by `Provider.dialer`; given to `TCPFlow.carry` and `UDPFlow.carry`."""

    @property
    def label(self) -> str:
        """For people, without secrets."""
