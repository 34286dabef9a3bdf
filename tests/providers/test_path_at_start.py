"""VPNs where the network changes while they start: they go on from another port, by the new one; and where it changes
and nothing, or no name, is to be reached at once."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

import pytest

from tunflow.endpoint import Endpoint, endpoint
from tunflow.hosting.session import HostServices, ProviderSession
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.event_loop import ReactorLoop
from tunflow.loop.reactor import Reactor
from tunflow.protocols.openvpn.events import Connected, Ended, Event
from tunflow.protocols.openvpn.tunnel_options import TunnelOptions
from tunflow.providers import openvpn
from tunflow.providers.configuration import TunnelProviderProtocol
from tunflow.providers.network_path import NetworkPath, PathStatus
from tunflow.providers.packet_tunnel import PacketTunnelProvider
from tunflow.providers.shadowvpn import ShadowVPNProvider
from tunflow.providers.status import ConnectionStatus
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.providers.wireguard import WireGuardProvider

KEY = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE%3D"
WIREGUARD = f"wireguard://{KEY}@192.0.2.2:51820?publickey={KEY}&address=10.0.0.2/32"
SHADOWVPN = "shadowvpn://secret@192.0.2.2:1123"
OPENVPN = f"client\ndev tun\nremote 192.0.2.2\npeer-fingerprint {':'.join(['00'] * 32)}\nauth-user-pass\n"


class Opened:
    """A UDP session that nothing comes from."""

    resolved_endpoint = endpoint("192.0.2.2", 1)

    def __init__(self) -> None:
        self.is_closed = False

    def set_read_handler(self, handler: Callable[[list[bytes]], None]) -> None:
        pass

    def write_at_once(self, datagrams: list[bytes]) -> int:
        return len(datagrams)

    async def write_datagrams(self, datagrams: list[bytes]) -> None:
        pass

    def cancel(self) -> None:
        self.is_closed = True


class Session(ProviderSession):
    """Writes down what is opened. The network changes as soon as there is a session."""

    def __init__(self, provider: PacketTunnelProvider, services: HostServices) -> None:
        super().__init__(provider, services)
        self.opened: list[Opened] = []

    async def open_udp(self, remote: Endpoint, local: Endpoint | None, through: bool) -> Any:
        self.opened.append(Opened())
        self.path_changed(NetworkPath(PathStatus.SATISFIED, "wlan0"))
        return self.opened[-1]


class Unreachable(Session):
    """Of what is opened after the first session, so many fail."""

    failures = 1

    def __init__(self, provider: PacketTunnelProvider, services: HostServices) -> None:
        super().__init__(provider, services)
        self.asked: list[Endpoint] = []

    async def open_udp(self, remote: Endpoint, local: Endpoint | None, through: bool) -> Any:
        self.asked.append(remote)
        if 0 < len(self.asked) - 1 <= self.failures:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        return await super().open_udp(remote, local, through)


class Link:
    """An OpenVPN connection with a server that answers at once."""

    moves = True

    def __init__(
        self, machine: object, transport: Any, deliver: object, tell: Callable[[Event], None], silence: object
    ) -> None:
        self._transport = transport
        self._tell = tell

    async def run(self) -> Ended:
        self._tell(Connected(TunnelOptions(local4=IPv4Address("10.8.0.2")), "fast"))
        await asyncio.Event().wait()
        raise AssertionError

    def move(self, session: Any) -> None:
        self._transport.close()

    async def close(self) -> None:
        pass


async def moved(session: Session) -> None:
    """Wait until it goes on by a second session, in place of the first."""
    await session.start()
    async with asyncio.timeout(30):
        while [each.is_closed for each in session.opened] != [True, False]:
            await asyncio.sleep(0)


def played(
    provider: PacketTunnelProvider,
    values: dict[str, Any],
    scene: Callable[[Any], Awaitable[None]],
    kind: type[Session] = Session,
) -> list[str]:
    """Play the scene with a session of the provider's; what it told."""
    reactor, lines = Reactor(), list[str]()

    async def main() -> None:
        log = CauseLog(lines.append, lambda: reactor.now)
        session = kind(provider, HostServices(reactor, log, configuration=TunnelProviderProtocol(values)))
        try:
            await scene(session)
        finally:
            await session.stop(ProviderStopReason.NONE)

    with asyncio.Runner(loop_factory=lambda: ReactorLoop(reactor)) as runner:
        runner.run(main())
    reactor.close()
    return lines


def test_wireguard() -> None:
    assert played(WireGuardProvider(), {"link": WIREGUARD}, moved) == []


def test_shadowvpn() -> None:
    assert played(ShadowVPNProvider(), {"link": SHADOWVPN}, moved) == []


async def moved_to_the_address(session: Unreachable) -> None:
    await moved(session)
    assert session.asked == [endpoint("vpn.example", int(session.asked[0].port))] * 2 + [Opened.resolved_endpoint]


@pytest.mark.parametrize(
    ("provider", "link"),
    [(WireGuardProvider, WIREGUARD), (ShadowVPNProvider, SHADOWVPN)],
    ids=["wireguard", "shadowvpn"],
)
def test_a_name_that_is_not_found_on_the_new_network_is_where_it_was(
    provider: type[PacketTunnelProvider], link: str
) -> None:
    values = {"link": link.replace("192.0.2.2", "vpn.example")}
    assert played(provider(), values, moved_to_the_address, Unreachable) == []


async def stays(session: Unreachable) -> None:
    session.failures = 100
    await session.start()
    async with asyncio.timeout(30):
        while len(session.asked) < 3 or session.status is not ConnectionStatus.CONNECTED:
            await asyncio.sleep(0)
    assert [each.is_closed for each in session.opened] == [False]


def test_shadowvpn_stays_where_nothing_is_to_be_reached_on_the_new_network() -> None:
    """It ended the tunnel, and without a kill switch everything went around it."""
    assert played(ShadowVPNProvider(), {"link": SHADOWVPN}, stays, Unreachable) == []


def test_openvpn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvpn, "OpenVPNClient", lambda *_, **__: SimpleNamespace())
    monkeypatch.setattr(openvpn, "OpenVPNLink", Link)
    values = {"config": OPENVPN, "username": "maria", "password": "secret"}
    assert played(openvpn.OpenVPNProvider(), values, moved) == []
