"""OpenVPN as a packet tunnel provider: written against the public extension point, like anybody's own.

Configuration (`provider_configuration`): `config` (the text of an `.ovpn` file) or `file` (its path); `username`,
`password`, `key_password` and `answer` for what would be asked on the terminal.

A connection that ends is followed by the next attempt while the tunnel's settings stay in place: programs wait, nothing
goes around. A changed network path gives a UDP connection a new address under which the server hears of it at once.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Mapping
from pathlib import Path
from typing import Any

from tunflow.errors import LocalError, RemoteError
from tunflow.paths import parse_path
from tunflow.protocols.openvpn.client import OpenVPNClient
from tunflow.protocols.openvpn.data_key import LARGEST_OVERHEAD
from tunflow.protocols.openvpn.events import Asked, Connected, Ended, Event, Said, Updated
from tunflow.protocols.openvpn.settings import OpenVPNSettings, Remote
from tunflow.protocols.openvpn.settings_reader import settings_from_file
from tunflow.protocols.openvpn.tunnel_options import TunnelOptions
from tunflow.providers.dns_settings import DNSSettings
from tunflow.providers.ip_settings import IPv4Route, IPv4Settings, IPv6Route, IPv6Settings
from tunflow.providers.network_path import NetworkPath
from tunflow.providers.openvpn_credentials import OpenVPNCredentials
from tunflow.providers.openvpn_link import OpenVPNLink
from tunflow.providers.openvpn_remote import open_transport, resolved
from tunflow.providers.packet_tunnel import PacketTunnelProvider
from tunflow.providers.silence_watch import SILENCE, SilenceWatch
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.providers.tunnel_settings import PacketTunnelNetworkSettings
from tunflow.wire.coalesce import coalesce

LONGEST_PAUSE = 60.0
"""Seconds between attempts at most."""
START_BUDGET = 50.0
"""Seconds for all remotes together when the tunnel starts: less than its host gives a provider."""
ETHERNET = 1500
MOST_TOLD = 8
"""Lines about what in a configuration changes nothing."""


class OpenVPNProvider(PacketTunnelProvider):
    """An OpenVPN client."""

    _settings: OpenVPNSettings
    _credentials: OpenVPNCredentials
    _link: OpenVPNLink | None = None
    _running: asyncio.Task[Ended] | None = None
    _silence: SilenceWatch | None = None
    _applied: PacketTunnelNetworkSettings | None = None
    _remote: Remote
    _next = 0

    async def start_tunnel(self, options: Mapping[str, Any] | None) -> None:  # noqa: ARG002
        """Connect to the first server that answers. Raises LocalError for a wrong configuration, RemoteError."""
        values = dict(self.protocol_configuration.provider_configuration)
        settings = _load(values)
        for line in settings.told[:MOST_TOLD]:
            self.display_message(line)
        self._credentials = OpenVPNCredentials(settings, values)
        self._silence = SilenceWatch(self._on_silence, self._on_answer)
        self._settings = await self._credentials.complete()
        self._remotes = [each for remote in _ordered(settings) for each in await resolved(remote)]
        changes = self.default_path_changes()
        await self._connect_first()
        self.packet_flow.set_read_handler(self._send)
        self.create_task(self._live(), name="connections")
        self.create_task(self._follow_path(changes), name="network changes")

    async def stop_tunnel(self, reason: ProviderStopReason) -> None:  # noqa: ARG002
        """Say goodbye."""
        if self._silence is not None:
            self._silence.close()
        if self._link is not None:
            await self._link.close()
        if self._running is not None:
            self._running.cancel()

    # Connecting.

    async def _connect_first(self) -> None:
        """One attempt at each remote. Raises RemoteError with the last one's reason."""
        deadline = asyncio.get_running_loop().time() + START_BUDGET
        patience = min(START_BUDGET / (len(self._remotes) + 1), 20.0)
        ended = Ended("there is no remote", fatal=True)
        tries = len(self._remotes)
        while tries > 0:
            ended_or_none = await self._attempt(patience)
            if ended_or_none is None:
                return
            ended = ended_or_none
            if ended.challenge is not None:
                self._settings = await self._credentials.answered(self._settings, ended.challenge)
                continue
            tries -= 1
            if ended.fatal or asyncio.get_running_loop().time() > deadline:
                break
            self._next += 1
        raise RemoteError(ended.reason)

    async def _attempt(self, patience: float) -> Ended | None:
        """Connect to the next remote and set the network as it says; how it ended, None when it is connected."""
        remote = self._remote = self._remotes[self._next % len(self._remotes)]
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(patience):
                transport = await open_transport(self, remote)
        except TimeoutError:
            return Ended(f"no answer from {remote}: port or firewall", fatal=False)
        except OSError as error:
            return Ended(f"{remote}: {error.strerror or error}", fatal=False)
        settings = self._settings
        now = loop.time()
        machine = OpenVPNClient(
            settings, remote, now, unix_offset=time.time() - now, random_bytes=os.urandom, patience=patience
        )
        connected: asyncio.Future[TunnelOptions] = loop.create_future()
        self._link = OpenVPNLink(
            machine, transport, self._deliver, lambda event: self._on_event(event, connected), self._silence
        )
        self._running = loop.create_task(self._link.run(), name="connection")
        either: list[asyncio.Future[Any]] = [self._running, connected]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not connected.done():
            return await self._ended()
        await self._apply(connected.result())
        return None

    async def _ended(self) -> Ended:
        """How the connection ends."""
        assert self._running is not None
        try:
            ended = await self._running
        finally:
            self._link = self._running = None
        if ended.refuses_token:  # it may have grown too old: the password is said again
            self._settings = self._settings.with_token("", "")
        return ended

    async def _live(self) -> None:
        """Be connected, and connected again, until it is of no use."""
        while True:
            ended: Ended | None = await self._ended()
            self.reasserting = True
            pause, attempts = self._settings.retry, 0
            while ended is not None:
                attempts += 1
                if ended.fatal or attempts == self._settings.most_retries:
                    self.cancel_tunnel(RemoteError(ended.reason))
                    return
                self.display_message(f"{ended.reason}: connecting again")
                self.trouble = ended.reason
                if ended.challenge is not None:
                    self._settings = await self._credentials.answered(self._settings, ended.challenge)
                else:
                    await asyncio.sleep(max(ended.pause, pause))
                    pause = min(2 * pause, LONGEST_PAUSE)
                if not ended.keeps_remote:
                    self._next += 1
                ended = await self._attempt(self._settings.connect_timeout or 20.0)
            self.reasserting = False
            self.trouble = None

    def _on_event(self, event: Event, connected: asyncio.Future[TunnelOptions]) -> None:
        if isinstance(event, Connected | Updated) and event.options.auth_token:
            user = event.options.auth_token_user or self._settings.token_user
            self._settings = self._settings.with_token(event.options.auth_token, user)
        if isinstance(event, Connected):
            for name in event.options.told[:MOST_TOLD]:
                self.display_message(f"the server pushes {name}, which changes nothing here")
            if not connected.done():
                connected.set_result(event.options)
        elif isinstance(event, Updated):
            self.create_task(self._apply(event.options), name="pushed update")
        elif isinstance(event, Asked):
            self.create_task(self._answer(event), name="question")
        elif isinstance(event, Said):
            self.display_message(event.text)

    async def _answer(self, event: Asked) -> None:
        answer = await self._credentials.answer(event.challenge)
        if self._link is not None and event.challenge.needs_answer:
            self._link.answer(answer)

    async def _apply(self, options: TunnelOptions) -> None:
        """Set the network as the server says, where that is news. Raises RemoteError for what cannot be."""
        try:
            wanted = network_settings(options, self._remote)
        except (LocalError, RemoteError) as error:
            raise RemoteError(f"the server pushes settings that cannot be: {error}") from None
        if wanted != self._applied:
            await self.set_tunnel_network_settings(wanted)
            self._applied = wanted

    # Packets.

    def _send(self, packets: list[bytes]) -> Awaitable[None] | None:
        return None if self._link is None else self._link.send(packets)

    def _deliver(self, packets: list[bytes]) -> None:
        self.packet_flow.write_super_packets(coalesce(packets))

    async def _follow_path(self, changes: AsyncIterator[NetworkPath]) -> None:
        """A new path: a new address, under which the server is told of it."""
        async for path in changes:
            link = self._link
            if not path.is_satisfied or link is None:
                continue
            if link.moves:
                await self._move(link)
            else:
                link.lose("a TCP connection does not outlive its address")

    async def _move(self, link: OpenVPNLink) -> None:
        """Go on from another address or port, under which the server hears of it at once."""
        try:
            link.move(await self.create_udp_session(self._remote.host, self._remote.port))
        except OSError as error:
            self.display_message(f"no new session with {self._remote}: {error.strerror}")

    def _on_silence(self) -> None:
        self.trouble = f"nothing heard from {self._remote} for {SILENCE:.0f} s of sending"
        if self._link is not None and self._link.moves:
            self.display_message(f"{self.trouble}: going on from another port")
            self.create_task(self._move(self._link), name="another port")

    def _on_answer(self) -> None:
        self.trouble = None
        self.display_message(f"{self._remote} answers again")


def network_settings(options: TunnelOptions, remote: Remote) -> PacketTunnelNetworkSettings:
    """The tunnel's network as the server wants it. Raises LocalError or BadPacket for what cannot be."""
    four, six = options.address4, options.address6
    if four is None and six is None:
        raise RemoteError("no ifconfig: the tunnel would have no address")
    overhead = LARGEST_OVERHEAD if remote.transport == "udp" else 0
    mtu = min(options.mtu or ETHERNET, ETHERNET - overhead)
    dns = None
    if options.dns:
        dns = DNSSettings(
            [str(each) for each in options.dns],
            search_domains=options.search,
            match_domains=options.match or [""],
            match_domains_no_search=True,
        )
    return PacketTunnelNetworkSettings(
        tunnel_remote_address=str(remote),
        ipv4_settings=None
        if four is None
        else IPv4Settings(
            [str(four)],
            included_routes=[IPv4Route(str(each)) for each in options.networks(4)],
            excluded_routes=[IPv4Route(str(each)) for each in options.excluded if each.version == 4],
        ),
        ipv6_settings=None
        if six is None
        else IPv6Settings(
            [str(six)],
            included_routes=[IPv6Route(str(each)) for each in options.networks(6)],
            excluded_routes=[IPv6Route(str(each)) for each in options.excluded if each.version == 6],
        ),
        dns_settings=dns,
        mtu=mtu if six is None else max(mtu, 1280),
    )


def _load(values: Mapping[str, Any]) -> OpenVPNSettings:
    """The settings that a provider's configuration names. Raises LocalError."""
    if "config" in values:
        return _client(settings_from_file(str(values["config"]).encode(), str(values.get("name", "config")), _no_file))
    if "file" not in values:
        raise LocalError("provider_configuration: expected file (the path of an .ovpn file) or config (its text)")
    path = parse_path(str(values["file"]))
    return _client(settings_from_file(_read(path), str(path), lambda name: _read(path.parent / parse_path(name))))


def _client(settings: OpenVPNSettings) -> OpenVPNSettings:
    if settings.server is not None:
        raise LocalError(f"{settings.name}: this is a server's configuration: tunflow serve takes it")
    return settings


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}") from None


def _no_file(name: str) -> bytes:
    raise LocalError(
        f"{name}: a configuration inside a profile must have its files inline: tunflow profile import does that"
    )


def _ordered(settings: OpenVPNSettings) -> list[Remote]:
    """The remotes in the order of the attempts."""
    remotes = list(settings.remotes)
    if settings.remote_random:
        remotes.sort(key=lambda _: os.urandom(8))
    return remotes
