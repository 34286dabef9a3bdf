"""One running provider: its life, what it may ask for, and what happens when it fails.

Whoever runs it (`tunflow run --provider`, the daemon of `up`) makes the object, gives it what it needs from the system
as functions, and calls it in this order: `start`, then `attach_device` (packets) or the `policy` (flows), `stop`. All
on one asyncio loop, which is a `ReactorLoop`.

Rules, Apple's as far as they say:
- what `start_…` raises, or does not return in time, is why the tunnel did not come up;
- a failed task of a packet tunnel ends it: packets would go nowhere. A failed flow of a proxy ends alone;
- a call that had to be interrupted (`hosting.watchdog`) ends the tunnel, as the system ends a hanging process;
- `cancel_…` ends the tunnel, and `stop_…` is not called then;
- when it is over, its tasks are cancelled, and late calls fail.
"""

from __future__ import annotations

import asyncio
import errno
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tunflow.device import Device
from tunflow.endpoint import Endpoint
from tunflow.errors import LocalError, TunflowError
from tunflow.hosting.flow_policy import ProviderPolicy
from tunflow.hosting.packet_flow import DevicePacketFlow
from tunflow.hosting.services import ProviderFailed, Services
from tunflow.hosting.through_tunnel import BesidePrograms, ThroughTunnel
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import UNMARKED, SocketOptions
from tunflow.outbound.direct import DirectOutbound
from tunflow.outbound.inner_stack import InnerStack
from tunflow.protocols.contract import Outbound
from tunflow.providers.app_proxy import AppProxyProvider
from tunflow.providers.app_rule import AppRule
from tunflow.providers.blame import ProviderHung, describe
from tunflow.providers.configuration import TunnelProviderProtocol
from tunflow.providers.connections import TCPConnection, UDPSession
from tunflow.providers.dns_proxy import DNSProxyProvider
from tunflow.providers.dns_settings import DNSSettings
from tunflow.providers.errors import AppProxyFlowError, TunnelProviderError, TunnelProviderErrorCode
from tunflow.providers.network_path import NetworkPath
from tunflow.providers.packet_tunnel import PacketTunnelProvider
from tunflow.providers.provider import Provider
from tunflow.providers.status import ConnectionStatus
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.providers.tunnel_settings import (
    PacketTunnelNetworkSettings,
    TransparentProxyNetworkSettings,
    TunnelNetworkSettings,
)

if TYPE_CHECKING:
    import ssl

START_TIMEOUT = 60.0
STOP_TIMEOUT = 10.0
SLEEP_TIMEOUT = 5.0
MESSAGE_TIMEOUT = 10.0
"""Seconds that a provider may take to start, to stop, to get ready for sleep, and to answer a message."""

PHYSICAL_MTU = 1500

Applier = Callable[[TunnelNetworkSettings | None], Awaitable[None]]


async def _nothing(_: TunnelNetworkSettings | None) -> None:
    """Settings that change nothing."""


@dataclass(frozen=True, slots=True)
class HostServices:
    """What a provider's host gives it of the system."""

    reactor: Reactor
    log: CauseLog
    apply: Applier = _nothing
    """Makes the system as settings say. Raises LocalError or OSError."""
    configuration: TunnelProviderProtocol = field(default_factory=TunnelProviderProtocol)
    path: NetworkPath = field(default_factory=NetworkPath)
    sockets: SocketOptions = UNMARKED
    straight: Outbound = field(default_factory=DirectOutbound)
    """Where flows go that no provider takes."""
    app_rules: Sequence[AppRule] | None = None
    system_dns: tuple[DNSSettings, ...] = ()
    start_timeout: float = START_TIMEOUT


class ProviderSession(Services):
    """See the module. `on_status` hears every new status, `on_trouble` that `trouble` changed, and `on_end` once why a
    tunnel ended by itself (None: it said so without an error)."""

    def __init__(
        self,
        provider: Provider,
        surroundings: HostServices,
        *,
        on_status: Callable[[ConnectionStatus], None] = lambda _: None,
        on_trouble: Callable[[], None] = lambda: None,
        on_end: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        super().__init__(provider, surroundings.reactor, surroundings.log, surroundings.sockets, surroundings.path)
        self.status = ConnectionStatus.DISCONNECTED
        self.settings: TunnelNetworkSettings | None = None
        self.reasserting = False
        self.trouble: str | None = None
        self.troubled_since = 0.0
        """When the trouble was seen first, in seconds since 1970."""
        self.configuration = surroundings.configuration
        self.system_dns = surroundings.system_dns
        self._surroundings = surroundings
        self._on_status = on_status
        self._on_trouble = on_trouble
        self._on_end = on_end
        self._beside: InnerStack | None = None
        """What stands beside the programs, once something goes through the tunnel that is the provider's own."""
        self._through: ThroughTunnel | None = None
        self._packets: DevicePacketFlow | None = None
        self.policy: ProviderPolicy | None = None
        """Decides about flows, for the driver; None for a packet tunnel."""
        if isinstance(provider, PacketTunnelProvider):
            self._packets = DevicePacketFlow(surroundings.reactor, provider.super_packets, self.handler_failed)
        elif isinstance(provider, AppProxyProvider | DNSProxyProvider):
            self.policy = ProviderPolicy(self, provider, surroundings.straight, surroundings.app_rules)
        else:
            raise LocalError(f"{self.name} is no packet tunnel, app proxy, transparent proxy or DNS proxy provider")
        provider.bind(self)

    # What whoever runs it does.

    @property
    def serves_flows(self) -> bool:
        """True if the provider is to be asked about flows."""
        return self.status in {ConnectionStatus.CONNECTED, ConnectionStatus.REASSERTING}

    async def start(self, options: Mapping[str, Any] | None = None) -> None:
        """Start the provider. Raises ProviderFailed, or LocalError for what it says is set wrongly; then it is over."""
        self._move(ConnectionStatus.CONNECTING)
        method = "start_tunnel" if self._packets is not None else "start_proxy"
        try:
            await self._call(method, self._surroundings.start_timeout, options)
        except BaseException as error:
            await self._end()
            if isinstance(error.__cause__, LocalError):
                whose = "" if self.is_ours else f"provider {self.name}: "
                raise LocalError(f"{whose}{error.__cause__}") from error
            raise
        if self.status is ConnectionStatus.CONNECTING:  # else it cancelled itself meanwhile
            self._move(ConnectionStatus.CONNECTED)

    def attach_device(self, device: Device) -> None:
        """The tunnel's packets come from here; the caller closes the device after `stop`."""
        assert self._packets is not None
        self._packets.attach(device)

    async def stop(self, reason: ProviderStopReason) -> None:
        """Stop the provider; whatever it does, it is over then."""
        if self.status in {ConnectionStatus.DISCONNECTED, ConnectionStatus.DISCONNECTING}:
            return
        self._move(ConnectionStatus.DISCONNECTING)
        method = "stop_tunnel" if self._packets is not None else "stop_proxy"
        try:
            await self._call(method, STOP_TIMEOUT, reason)
        except ProviderFailed as error:
            self._surroundings.log.tell(str(error), str(error))
        await self._end()

    async def send_message(self, data: bytes) -> bytes | None:
        """A message of the controlling program's; the answer. Raises ProviderFailed and LocalError."""
        if not self.serves_flows:
            raise LocalError("the tunnel is not connected: nobody answers messages")
        answer = await self._call("handle_app_message", MESSAGE_TIMEOUT, data)
        if answer is not None and not isinstance(answer, bytes | bytearray | memoryview):
            raise ProviderFailed(
                f"provider {self.name}: handle_app_message answered {answer!r}: expected bytes or None"
            )
        return None if answer is None else bytes(answer)

    async def sleep(self) -> None:
        """The system is about to sleep."""
        with suppress(ProviderFailed):
            await self._call("sleep", SLEEP_TIMEOUT)

    def wake(self) -> None:
        """The system woke up."""
        try:
            self.provider.wake()
        except BaseException as error:
            self.blame("wake", error)

    @property
    def statistics(self) -> dict[str, int]:
        """Packets and bytes of a packet tunnel."""
        flow = self._packets
        if flow is None:
            return {}
        return {
            "packets_in": flow.packets_out,
            "bytes_in": flow.bytes_out,
            "packets_out": flow.packets_in,
            "bytes_out": flow.bytes_in,
            "refused": flow.refused,
        }

    @property
    def summary(self) -> str:
        """What a packet tunnel carried, in a line for people."""
        said = self.statistics
        counts = [
            f"{said.get(f'packets_{way}', 0)} packets {way}, {said.get(f'bytes_{way}', 0)} B" for way in ("in", "out")
        ]
        return f"{'; '.join(counts)}; {said.get('refused', 0)} refused"

    # What the provider asks for (providers.host).

    async def connect(
        self, remote: Endpoint, tls: ssl.SSLContext | None, server_name: str | None, through: bool
    ) -> TCPConnection:
        """A stream."""
        if through:
            return await self.tunnel().connect(remote, tls, server_name)
        return await super().connect(remote, tls, server_name, through)

    async def open_udp(self, remote: Endpoint, local: Endpoint | None, through: bool) -> UDPSession:
        """A datagram session."""
        if through:
            return await self.tunnel().open_udp(remote, local)
        return await super().open_udp(remote, local, through)

    async def apply_settings(self, settings: TunnelNetworkSettings | None) -> None:
        """Have the settings applied. Raises TunnelProviderError."""
        wanted = TunnelNetworkSettings if self._packets is None else PacketTunnelNetworkSettings
        if settings is not None and not isinstance(settings, wanted):
            raise TunnelProviderError(
                TunnelProviderErrorCode.NETWORK_SETTINGS_INVALID, f"{settings!r} is not {wanted.__name__}"
            )
        try:
            # A transparent proxy's settings only say which flows it wants.
            if not isinstance(settings, TransparentProxyNetworkSettings):
                await self._surroundings.apply(settings)
        except (LocalError, OSError) as error:
            raise TunnelProviderError(TunnelProviderErrorCode.NETWORK_SETTINGS_INVALID, str(error)) from error
        self.settings = settings
        self._end_beside()

    def _end_beside(self) -> None:
        """Reset the provider's own connections where the addresses or the MTU that they know are no more."""
        beside, settings = self._beside, self.settings
        if beside is None:
            return
        if isinstance(settings, PacketTunnelNetworkSettings):
            stays = beside.addresses == frozenset(own_addresses(settings))
            if stays and beside.stack.mtu == settings.mtu_on(PHYSICAL_MTU):
                return
        self._beside = None
        beside.close()

    def set_reasserting(self, value: bool) -> None:
        """Only while connected."""
        if not self.serves_flows:
            return
        self.reasserting = bool(value)
        self._move(ConnectionStatus.REASSERTING if value else ConnectionStatus.CONNECTED)

    def set_trouble(self, line: str | None) -> None:
        """Counted from its first line on."""
        if self.trouble is None:
            self.troubled_since = time.time()
        before, self.trouble = self.trouble, None if line is None else " ".join(line.split())
        if self.trouble != before:
            self._on_trouble()

    def cancel(self, error: BaseException | None) -> None:
        """The provider ends the tunnel."""
        line = None if error is None else f"provider {self.name} ended the tunnel: {describe(error)}"
        if line is not None:
            self._surroundings.log.tell(line, line)
        self._fail(line)

    @property
    def packets(self) -> DevicePacketFlow:
        """The packets."""
        assert self._packets is not None
        return self._packets

    def blame(self, what: str, error: BaseException) -> str:
        """Log the provider's failure; the line. One that had to be interrupted would hang again: it ends."""
        line = super().blame(what, error)
        if isinstance(error, ProviderHung):
            self._fail(line)
        return line

    # Inside.

    def _move(self, status: ConnectionStatus) -> None:
        if status is not self.status:
            self.status = status
            self._on_status(status)

    def tunnel(self) -> ThroughTunnel:
        """What carries connections through the tunnel. Raises OSError while the tunnel has no addresses."""
        inner = self.inner_stack()
        if self._through is None or self._through.inner is not inner:
            if self._through is not None:
                self._through.close()
            self._through = ThroughTunnel(inner, self.handler_failed)
        return self._through

    def inner_stack(self) -> InnerStack:
        """The tunnel's near end as a host, made when it is first needed. Raises OSError."""
        settings = self.settings
        if not isinstance(settings, PacketTunnelNetworkSettings):
            raise OSError(errno.ENETDOWN, "the tunnel has no addresses yet: call set_tunnel_network_settings first")
        if self._beside is None:
            link = BesidePrograms(self.packets, settings.mtu_on(PHYSICAL_MTU))
            self._beside = InnerStack(self._surroundings.reactor, link, own_addresses(settings))
        return self._beside

    async def _contained(self, work: Coroutine[Any, Any, object], name: str) -> object:
        """A task's work; its failure is the provider's."""
        try:
            return await work
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._call_failed(name, error)
            return None

    def handler_failed(self, error: BaseException) -> None:
        """What a function raised that the provider gave for what arrives: as when a task fails."""
        self._call_failed("read handler", error)

    def _call_failed(self, name: str, error: BaseException) -> None:
        over = self.status in {ConnectionStatus.DISCONNECTING, ConnectionStatus.DISCONNECTED}
        if over and isinstance(error, EOFError):
            return  # it was reading packets
        if self._packets is None and isinstance(error, AppProxyFlowError):
            return  # a program that goes away is nobody's failure
        line = self.blame(name, error)
        traceback.clear_frames(error.__traceback__)  # they hold flows that nobody serves any more
        if self._packets is not None:
            self._fail(line)

    def _fail(self, line: str | None) -> None:
        """The tunnel is over, by the provider's doing."""
        if self.status in {ConnectionStatus.DISCONNECTING, ConnectionStatus.DISCONNECTED}:
            return
        self._move(ConnectionStatus.DISCONNECTING)
        ending = asyncio.get_running_loop().create_task(self._end())
        ending.add_done_callback(lambda _: self._on_end(line))

    async def _end(self) -> None:
        """Nothing of it runs any more."""
        if self._packets is not None:
            self._packets.close()
        if self._through is not None:
            self._through.close()
        if self._beside is not None:
            self._beside.close()
        await self._end_tasks()
        if self.settings is not None:
            with suppress(TunflowError, OSError):
                await self._surroundings.apply(None)
            self.settings = None
        self._move(ConnectionStatus.DISCONNECTED)


def own_addresses(settings: PacketTunnelNetworkSettings) -> list[bytes]:
    """The tunnel's own addresses, packed: the first of each family."""
    families = [family for family in (settings.ipv4_settings, settings.ipv6_settings) if family is not None]
    return [family.addresses[0].ip.packed for family in families]
