"""WireGuard as a packet tunnel provider: written against the public extension point, like anybody's own.

Configuration (`provider_configuration`): `config`, the text of a wg-quick file, or `file`, where one is, or `link`
(`wireguard://…`); `excluded_routes` (networks that go around).

Each peer that has an Endpoint gets a UDP session of its own. When the network's path changes the sessions are opened
anew, from a new address, and the peers follow (roaming): the settings stay, so nothing leaves by another way meanwhile.
A peer that does not answer gets a session from a new port as well: a middlebox may have forgotten the old one, or
dislike it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from math import inf
from typing import Any

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import LocalError
from tunflow.paths import parse_path
from tunflow.protocols.wireguard.config_file import parse_config
from tunflow.protocols.wireguard.interface import Interface
from tunflow.protocols.wireguard.keys import format_key
from tunflow.protocols.wireguard.link import parse_link
from tunflow.protocols.wireguard.peer import Event, EventKind, Peer
from tunflow.protocols.wireguard.settings import WireGuardSettings
from tunflow.protocols.wireguard.status import as_data, as_text
from tunflow.providers.connections import UDPSession
from tunflow.providers.dns_settings import DNSSettings
from tunflow.providers.ip_settings import IPv4Route, IPv4Settings, IPv6Route, IPv6Settings
from tunflow.providers.network_path import NetworkPath
from tunflow.providers.packet_tunnel import PacketTunnelProvider
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.providers.tunnel_settings import PacketTunnelNetworkSettings
from tunflow.wire.coalesce import coalesce

TRIES = 2
"""Unanswered initiations after which a new port is tried, and it is mentioned: some 10 seconds."""


class WireGuardProvider(PacketTunnelProvider):
    """A WireGuard client."""

    _interface: Interface

    async def start_tunnel(self, options: Mapping[str, Any] | None) -> None:  # noqa: ARG002
        """Open the sessions and route packets into them. Raises LocalError for a wrong configuration, OSError."""
        values = dict(self.protocol_configuration.provider_configuration)
        settings = settings_of(values)
        for line in (*settings.told, *values.get("told", ())):
            self.display_message(line)
        network = _network_settings(settings, values)
        self._interface = Interface(settings.private_key, settings.mtu, os.urandom, time.time_ns)
        self._lines: list[PeerSession] = []
        self._by_peer: dict[Peer, PeerSession] = {}
        self._timer = asyncio.Event()
        self._expected = inf
        changes = self.default_path_changes()
        for each in settings.peers:
            peer = self._interface.add_peer(
                each.public_key,
                preshared=each.preshared_key,
                allowed_ips=each.allowed_ips,
                persistent_keepalive=each.persistent_keepalive,
            )
            if each.endpoint is None:
                self.display_message(f"peer {_short(peer)} has no Endpoint: only `tunflow serve` waits for peers")
                continue
            line = self._by_peer[peer] = PeerSession(peer, each.endpoint)
            await self._open(line)
            self._lines.append(line)
        if not self._lines:
            raise LocalError("no [Peer] has an Endpoint, so none can be called; `tunflow serve` is who waits for them")
        await self.set_tunnel_network_settings(network)
        self.packet_flow.set_read_handler(self._send)
        self.create_task(self._keep_time(), name="timers")
        self.create_task(self._follow_path(changes), name="network changes")
        self._interface.start(now())
        self._flush()

    async def stop_tunnel(self, reason: ProviderStopReason) -> None:  # noqa: ARG002
        """Close the sessions."""
        for line in self._lines:
            line.session.cancel()

    def wake(self) -> None:
        """Time has passed, though no timer ran."""
        self._timer.set()

    async def handle_app_message(self, data: bytes) -> bytes | None:
        """`show` is answered in the words of `wg show`, `status` in JSON."""
        if data == b"show":
            port = self._lines[0].session.local_address.port
            return as_text(self._interface, "wireguard", port, now()).encode()
        return json.dumps(as_data(self._interface, now())).encode() if data == b"status" else None

    async def _open(self, line: PeerSession) -> None:
        """A session with where the peer is said to be. Raises OSError."""
        self._use(line, await self.create_udp_session(line.where))
        line.source = line.peer.endpoint = line.session.resolved_endpoint

    def _use(self, line: PeerSession, session: UDPSession) -> None:
        line.session = session
        session.set_read_handler(lambda datagrams: self._receive(line, datagrams))

    async def _renew(self, line: PeerSession) -> None:
        """A session from another port, or address; the old one while there is no other."""
        old = line.session
        try:
            await self._open(line)
        except OSError:
            self._use(line, await self.create_udp_session(line.source))  # a name that nobody resolves now
        old.cancel()

    def _send(self, packets: list[bytes]) -> Awaitable[None] | None:
        self._interface.send_untrusted(packets, now())
        unsent = self._flush()
        return self._send_rest(unsent) if unsent else None

    async def _send_rest(self, unsent: Sequence[tuple[UDPSession, Sequence[Buffer]]]) -> None:
        for session, datagrams in unsent:
            with suppress(OSError):
                await session.write_datagrams(datagrams)

    def _receive(self, line: PeerSession, datagrams: list[bytes]) -> None:
        interface = self._interface
        interface.receive_untrusted(datagrams, line.source, now())
        packets = interface.drain_packets()
        if packets:
            self.packet_flow.write_super_packets(coalesce(packets))
        self._flush()

    def _flush(self) -> list[tuple[UDPSession, Sequence[Buffer]]]:
        """Send what the machine wants sent, tell what it wants told, and expect its next timer.

        Given back is what full sessions did not take, which is lost if nobody sends it.
        """
        interface = self._interface
        unsent: list[tuple[UDPSession, Sequence[Buffer]]] = []
        for outgoing in interface.drain_datagrams():
            line = None if outgoing.peer is None else self._by_peer.get(outgoing.peer)
            if line is not None:
                with suppress(OSError):  # as on any wire: a packet that cannot leave now is lost
                    sent = line.session.write_at_once(outgoing.datagrams)
                    if sent < len(outgoing.datagrams):
                        unsent.append((line.session, outgoing.datagrams[sent:]))
        for event in interface.drain_events():
            self._tell(event)
        when = interface.next_timeout()
        if when is not None and when < self._expected:
            self._timer.set()
        return unsent

    async def _keep_time(self) -> None:
        while True:
            when = self._interface.next_timeout()
            self._expected = inf if when is None else when
            self._timer.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if when is None else max(0.0, when - now())):
                    await self._timer.wait()
            self._interface.handle_timeout(now())
            self._flush()

    async def _follow_path(self, changes: AsyncIterator[NetworkPath]) -> None:
        """A new path: new sessions, from a new address, in which the peers hear of us at once."""
        async for path in changes:
            if not path.is_satisfied:
                continue
            self.reasserting = True
            for line in self._lines:
                with suppress(OSError):
                    await self._renew(line)
            self._interface.announce(now())
            self._flush()
            self.reasserting = False

    def _tell(self, event: Event) -> None:
        line = self._by_peer.get(event.peer)
        if line is None:
            return
        if event.kind is EventKind.SESSION:
            line.unanswered = 0
            if line.is_lost:
                line.is_lost = False
                if not any(each.is_lost for each in self._lines):
                    self.trouble = None
                self.display_message(f"peer {_short(line.peer)} at {line.source} answers again")
        elif event.kind is EventKind.NO_ANSWER:
            line.unanswered += 1
            if line.unanswered % TRIES:
                return
            line.is_lost = True
            self.trouble = f"no answer from the peer at {line.where}"
            self.display_message(
                f"no answer from {line.where}: check the Endpoint, that UDP passes, PublicKey and PresharedKey, that "
                "the server has our public key, and both clocks (a server does not answer whom it does not know); "
                "trying again from another port"
            )
            self.create_task(self._try_another_port(line), name="another port")

    async def _try_another_port(self, line: PeerSession) -> None:
        with suppress(OSError):
            await self._renew(line)  # the next initiation leaves there


class PeerSession:
    """How a peer is reached."""

    session: UDPSession
    source: Endpoint
    """Where it was found: the far end of `session`."""

    def __init__(self, peer: Peer, where: Endpoint) -> None:
        self.peer = peer
        self.where = where
        """As the configuration says: an address or a name."""
        self.is_lost = False
        self.unanswered = 0
        """Initiations since it last answered. The peer's own count begins anew with every packet that is sent."""


def settings_of(values: Mapping[str, Any]) -> WireGuardSettings:
    """What a provider's configuration says. Raises LocalError."""
    given = [key for key in ("config", "file", "link") if values.get(key)]
    if len(given) != 1:
        raise LocalError("provider_configuration: one of config, file and link is expected")
    if given == ["link"]:
        return parse_link(str(values["link"]))
    if given == ["config"]:
        return parse_config(str(values["config"]), "provider_configuration.config")
    try:
        text = parse_path(str(values["file"])).read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise LocalError(f"cannot read {values['file']}: {error.strerror}") from None
    return parse_config(text, str(values["file"]))


def now() -> float:
    """Seconds, counted on while the machine sleeps: keys grow old then, too."""
    return time.clock_gettime(_CLOCK)


_CLOCK = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC


def _short(peer: Peer) -> str:
    return f"{format_key(peer.public)[:8]}…"


def _network_settings(settings: WireGuardSettings, values: Mapping[str, Any]) -> PacketTunnelNetworkSettings:
    first = settings.first_hop
    addresses4 = [str(each) for each in settings.addresses if isinstance(each, IPv4Interface)]
    addresses6 = [str(each) for each in settings.addresses if isinstance(each, IPv6Interface)]
    allowed = list(dict.fromkeys(network for peer in settings.peers for network in peer.allowed_ips))
    excluded = list(values.get("excluded_routes", []))
    return PacketTunnelNetworkSettings(
        tunnel_remote_address=first.host_text if first is not None else settings.label,
        ipv4_settings=IPv4Settings(
            addresses4,
            included_routes=[IPv4Route(str(network)) for network in allowed if isinstance(network, IPv4Network)],
            excluded_routes=[IPv4Route(network) for network in excluded if ":" not in network],
        )
        if addresses4
        else None,
        ipv6_settings=IPv6Settings(
            addresses6,
            included_routes=[IPv6Route(str(network)) for network in allowed if isinstance(network, IPv6Network)],
            excluded_routes=[IPv6Route(network) for network in excluded if ":" in network],
        )
        if addresses6
        else None,
        dns_settings=DNSSettings(settings.dns, search_domains=settings.search_domains, match_domains=[""])
        if settings.dns
        else None,
        mtu=settings.mtu,
    )
