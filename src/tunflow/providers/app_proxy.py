"""A proxy for programs' connections: NEAppProxyProvider and NETransparentProxyProvider."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

from tunflow.endpoint import Endpoint
from tunflow.providers.flows import AppProxyFlow, UDPFlow
from tunflow.providers.provider import TunnelProvider
from tunflow.providers.stop_reason import ProviderStopReason


class AppProxyProvider(TunnelProvider):
    """NEAppProxyProvider: takes flows instead of packets."""

    async def start_proxy(self, options: Mapping[str, Any] | None) -> None:
        """Get ready for flows; what it raises is why there is no proxy."""

    async def stop_proxy(self, reason: ProviderStopReason) -> None:
        """No more flows. Called once, for whatever reason but the provider's own `cancel_proxy`."""

    def cancel_proxy(self, error: BaseException | None = None) -> None:
        """End the proxy from within. `stop_proxy` is not called."""
        self._host.cancel(error)

    def handle_new_flow(self, flow: AppProxyFlow) -> bool | Awaitable[bool]:
        """A program opens a flow (`TCPFlow` or `UDPFlow`) and waits. May be plain or `async def`.

        True: the provider keeps the flow, and will `open`, `carry` or close it. False: the program is told that its
        connection was refused; with `TransparentProxyProvider` it goes straight out instead.
        """
        raise NotImplementedError(f"{type(self).__name__} has no handle_new_flow")

    def handle_new_udp_flow(
        self,
        flow: UDPFlow,
        initial_remote_endpoint: Endpoint,  # noqa: ARG002
    ) -> bool | Awaitable[bool]:
        """A program's UDP socket sends its first datagram. Without a method of its own, `handle_new_flow` decides."""
        return self.handle_new_flow(flow)


class TransparentProxyProvider(AppProxyProvider):
    """NETransparentProxyProvider: what it does not take goes straight out.

    It is asked only about flows that its `TransparentProxyNetworkSettings` include; without settings, about none.
    """
