"""ShadowVPN as a packet tunnel provider: written against the public extension point, like anybody's own.

Configuration (`provider_configuration`): `link` (`shadowvpn://…`), or `server`, `port`, `password`, `user_token`, `net`
and `mtu` one by one; `dns` (a list of resolvers), `included_routes` and `excluded_routes` (networks).

The order of events is the original's iOS app: settings, UDP session, packets. A changed network path makes it
`reasserting`: settings taken back, a new session (the server's name looked up again), settings applied, connected.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import suppress
from typing import Any

from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import LocalError
from tunflow.protocols.shadowvpn.boxes import make_box
from tunflow.protocols.shadowvpn.seal import Sealer, master_key
from tunflow.protocols.shadowvpn.settings import ShadowVPNConfig, config_of, parse_link
from tunflow.providers.connections import UDPSession
from tunflow.providers.dns_settings import DNSSettings
from tunflow.providers.ip_settings import IPv4Route, IPv4Settings
from tunflow.providers.network_path import NetworkPath
from tunflow.providers.packet_tunnel import PacketTunnelProvider
from tunflow.providers.silence_watch import SILENCE, SilenceWatch
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.providers.tunnel_settings import PacketTunnelNetworkSettings
from tunflow.wire.coalesce import coalesce

MENTIONED_AFTER = 10.0
"""Seconds of sending without any answer at all after which the first advice is given."""


class ShadowVPNProvider(PacketTunnelProvider):
    """A ShadowVPN client."""

    _session: UDPSession
    _config: ShadowVPNConfig
    _sealer: Sealer
    _silence: SilenceWatch
    _heard = False

    async def start_tunnel(self, options: Mapping[str, Any] | None) -> None:  # noqa: ARG002
        """Open the session and route packets into it. Raises LocalError for a wrong configuration, OSError."""
        values = dict(self.protocol_configuration.provider_configuration)
        self._config = parse_link(values["link"]) if "link" in values else config_of(values, "provider_configuration")
        self._token = self._config.user_tokens[0] if self._config.user_tokens else b""
        self._settings = _settings(self._config, values)
        self._sealer = Sealer(make_box(master_key(self._config.password.encode()), self.display_message), os.urandom)
        self._silence = SilenceWatch(self._on_silence, self._on_answer)
        changes = self.default_path_changes()
        self._use(await self.create_udp_session(self._server))
        await self.set_tunnel_network_settings(self._settings)
        self.packet_flow.set_read_handler(self._send)
        self.create_task(self._follow_path(changes), name="network changes")
        self.create_task(self._mention_silence(), name="silence")

    async def stop_tunnel(self, reason: ProviderStopReason) -> None:  # noqa: ARG002
        """Close the session."""
        self._silence.close()
        self._session.cancel()

    @property
    def _server(self) -> Endpoint:
        return endpoint(self._config.server, self._config.port)

    def _use(self, session: UDPSession) -> None:
        self._session = session
        session.set_read_handler(self._receive)

    def _send(self, packets: list[bytes]) -> Awaitable[None] | None:
        session, sealed = self._session, self._sealer.seal(packets, self._token)
        self._asked = True
        self._silence.sent()
        try:
            sent = session.write_at_once(sealed)
        except OSError:
            return None  # as on any wire: a packet that cannot leave now is lost
        return None if sent == len(sealed) else session.write_datagrams(sealed[sent:])

    def _receive(self, datagrams: list[bytes]) -> None:
        token_size = len(self._token)
        # The rest is dropped without a word, as the original does.
        packets = self._sealer.open_all_untrusted(datagrams, token_size)
        if packets:
            if token_size:
                packets = [packet[token_size:] for packet in packets]
            self._heard = True
            self._silence.heard()
            self.packet_flow.write_super_packets(coalesce(packets))

    _asked = False

    async def _follow_path(self, changes: AsyncIterator[NetworkPath]) -> None:
        """A new path: a new session, from a new address, and the settings once more."""
        async for path in changes:
            if not path.is_satisfied:
                continue
            self.reasserting = True
            await self.set_tunnel_network_settings(None)
            with suppress(OSError):  # the old session while there is no other: its silence has it try again
                await self._renew()
            await self.set_tunnel_network_settings(self._settings)
            self.reasserting = False

    async def _renew(self) -> None:
        """A session by the new path; to the same address where the name is not to be found now. Raises OSError."""
        try:
            await self._go_on_with(self._server)
        except OSError:
            await self._go_on_with(self._session.resolved_endpoint)

    async def _go_on_with(self, server: Endpoint) -> None:
        """A new session in place of the old one. Raises OSError."""
        old = self._session
        self._use(await self.create_udp_session(server))
        old.cancel()

    def _on_silence(self) -> None:
        self.trouble = f"nothing heard from {self._config.label} for {SILENCE:.0f} s of sending"
        self.display_message(f"{self.trouble}: going on from another port")
        self.create_task(self._try_another_port(), name="another port")

    def _on_answer(self) -> None:
        self.trouble = None
        self.display_message(f"{self._config.label} answers again")

    async def _try_another_port(self) -> None:
        """A session from another port to the same address: a name is not looked up again, which goes by the tunnel."""
        with suppress(OSError):
            await self._go_on_with(self._session.resolved_endpoint)

    async def _mention_silence(self) -> None:
        while not self._asked:
            await asyncio.sleep(1)
        await asyncio.sleep(MENTIONED_AFTER)
        if not self._heard:
            self.display_message(
                f"no answer from {self._config.label} for {MENTIONED_AFTER:.0f} s: check the server's address and "
                "port, the password, the user_token, and that UDP passes (a server does not answer what it cannot "
                "authenticate)"
            )


def _settings(config: ShadowVPNConfig, values: Mapping[str, Any]) -> PacketTunnelNetworkSettings:
    included = [IPv4Route(route) for route in values.get("included_routes", [])] or [IPv4Route.default()]
    excluded = [IPv4Route(route) for route in values.get("excluded_routes", []) if ":" not in route]
    servers = values.get("dns", [])
    if not isinstance(servers, list | tuple):
        raise LocalError("provider_configuration: dns is a list of addresses")
    return PacketTunnelNetworkSettings(
        tunnel_remote_address=config.server,
        ipv4_settings=IPv4Settings(
            [str(config.net.ip)], [str(config.net.netmask)], included_routes=included, excluded_routes=excluded
        ),
        dns_settings=DNSSettings(servers, match_domains=[""]) if servers else None,
        mtu=config.mtu,
    )
