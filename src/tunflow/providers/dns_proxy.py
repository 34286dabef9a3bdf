"""A proxy for name lookups: NEDNSProxyProvider."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

from tunflow.endpoint import Endpoint
from tunflow.providers.dns_settings import DNSSettings
from tunflow.providers.flows import AppProxyFlow, UDPFlow
from tunflow.providers.provider import TunnelProvider
from tunflow.providers.stop_reason import ProviderStopReason


class DNSProxyProvider(TunnelProvider):
    """NEDNSProxyProvider: gets every flow to port 53. Other flows are not its business.

    A `UDPFlow` carries one DNS message in each datagram, a `TCPFlow` a stream of them with two bytes of length in
    front of each (RFC 1035 section 4.2).
    """

    async def start_proxy(self, options: Mapping[str, Any] | None) -> None:
        """Get ready for lookups; what it raises is why there is no proxy."""

    async def stop_proxy(self, reason: ProviderStopReason) -> None:
        """No more lookups. Called once, for whatever reason but the provider's own `cancel_proxy`."""

    def cancel_proxy(self, error: BaseException | None = None) -> None:
        """End the proxy from within. `stop_proxy` is not called."""
        self._host.cancel(error)

    @property
    def system_dns_settings(self) -> tuple[DNSSettings, ...]:
        """The resolvers that the system would ask."""
        return self._host.system_dns

    def handle_new_flow(self, flow: AppProxyFlow) -> bool | Awaitable[bool]:
        """A flow to a resolver. True: the provider keeps it. False: it is refused."""
        raise NotImplementedError(f"{type(self).__name__} has no handle_new_flow")

    def handle_new_udp_flow(
        self,
        flow: UDPFlow,
        initial_remote_endpoint: Endpoint,  # noqa: ARG002
    ) -> bool | Awaitable[bool]:
        """A UDP socket's first lookup. Without a method of its own, `handle_new_flow` decides."""
        return self.handle_new_flow(flow)
