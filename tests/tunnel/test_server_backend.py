"""Servers under a system-wide tunnel: one whose only way out is a packet tunnel begins when that stands, or fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from memory_host import MemoryHost, NamedUplink

from tunflow.errors import LocalError, RemoteError
from tunflow.loop.event_loop import ReactorLoop
from tunflow.loop.reactor import Reactor
from tunflow.profiles.file import parse
from tunflow.protocols.contract import Outbound, OutboundContext
from tunflow.protocols.registry import parse_server
from tunflow.providers import IPv4Settings, PacketTunnelNetworkSettings, PacketTunnelProvider
from tunflow.providers.network_path import NetworkPath, PathStatus
from tunflow.providers.status import ConnectionStatus
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.tunnel import server_backend
from tunflow.tunnel.assemble import ServingContext
from tunflow.tunnel.compile import compile_profile
from tunflow.tunnel.plan import Plan, plan_of_servers
from tunflow.tunnel.process_filter import ProcessFilter
from tunflow.tunnel.server_backend import ServerBackend
from tunflow.tunnel.tunnel_interface import TunnelContext, TunnelInterface


class Office(PacketTunnelProvider):
    """Signs in when it may; `failure` is why it does not."""

    may_start = asyncio.Event()
    has_started = asyncio.Event()
    failure: Exception | None = None
    changes: AsyncGenerator[NetworkPath]

    async def start_tunnel(self, options: Any) -> None:
        Office.changes = self.default_path_changes()
        await Office.may_start.wait()
        if Office.failure is not None:
            raise Office.failure
        await self.set_tunnel_network_settings(
            PacketTunnelNetworkSettings(
                tunnel_remote_address="192.0.2.1", ipv4_settings=IPv4Settings(["10.0.0.2/24"]), mtu=1400
            )
        )
        Office.has_started.set()


@dataclass(frozen=True)
class Server:
    """A link to it."""

    label: str = "office"
    tag: str | None = None
    first_hop: tuple[str, int] | None = None
    wants_programs: bool = False
    provider: str = f"{__name__}:Office"
    provider_configuration: dict[str, object] = field(default_factory=dict)

    def outbound(self, context: OutboundContext) -> Outbound:
        return context.tunnel(self)


class Portals:
    """The looks for a login page; `answers` are what they find, in turn."""

    way = None
    endless = None
    portal: object = None
    portal_line = "this network wants a login first"

    def __init__(self) -> None:
        self.answers: list[bool] = []
        self.looks = 0
        self.looked: Callable[[], None] = lambda: None

    async def look(self, path: object, apply: Callable[[], None]) -> bool:
        self.looks += 1
        self.looked()
        self.portal = "the page" if self.answers and self.answers.pop(0) else None
        return self.portal is not None

    async def suspects(self, path: object) -> bool:
        return False

    def clear(self) -> None:
        self.portal = None


class Bench:
    """A backend on nothing."""

    def __init__(self, reactor: Reactor, plan: Plan) -> None:
        self.said: list[str] = []
        serving = ServingContext(reactor, self.said.append, ProcessFilter(reactor, self.said.append))
        self.interface = TunnelInterface(plan, TunnelContext(MemoryHost(), list, serving))
        self.portals = self.interface.portals = Portals()
        self.finder = self.interface.finder = NamedUplink()
        self.interface.network_path = self.network_path
        self.backend = ServerBackend(plan, self.interface, groups=None)

    async def network_path(self) -> NetworkPath:
        return NetworkPath(PathStatus.SATISFIED, self.finder.interface)

    async def end(self) -> None:
        await self.backend.stop(ProviderStopReason.NONE)
        self.interface.take_down()

    @property
    def troubles(self) -> list[str]:
        facts = self.backend.facts({"troubles": [], "status": "connected"})
        return [each["what"] for each in facts["troubles"]]


def played(scene: Callable[[Bench], Any], plan: Plan | None = None) -> list[str]:
    """Play a scene with a backend of the plan, else of one office; what was said."""
    reactor = Reactor()

    async def run() -> list[str]:
        bench = Bench(reactor, plan_of_servers([Server()]) if plan is None else plan)
        try:
            async with asyncio.timeout(30):
                await scene(bench)
        finally:
            await bench.end()
        return bench.said

    with asyncio.Runner(loop_factory=lambda: ReactorLoop(reactor)) as runner:
        said = runner.run(run())
    reactor.close()
    return said


@pytest.fixture(autouse=True)
def office(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that nobody waits for longer than a test has to."""
    monkeypatch.setattr(server_backend, "DOUBT", 0.001)
    monkeypatch.setattr(Office, "may_start", asyncio.Event())
    monkeypatch.setattr(Office, "has_started", asyncio.Event())
    monkeypatch.setattr(Office, "failure", None)


def test_it_has_begun_once_the_tunnel_stands() -> None:
    async def scene(bench: Bench) -> None:
        starting = asyncio.ensure_future(bench.backend.start())
        seen = asyncio.Event()
        bench.portals.looked = lambda: seen.set() if bench.portals.looks > 2 else None
        await seen.wait()  # and nobody has found a page
        assert not starting.done()
        assert bench.interface.driver is not None  # what programs send waits
        Office.may_start.set()
        await starting
        assert bench.troubles == []

    assert played(scene) == []


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (RemoteError("the user or password is wrong"), RemoteError),
        (LocalError("there is no terminal to ask on"), LocalError),
        (OSError("no way"), RemoteError),
    ],
)
def test_it_fails_as_the_tunnel_does_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, kind: type[Exception]
) -> None:
    monkeypatch.setattr(Office, "failure", failure)

    async def scene(bench: Bench) -> None:
        Office.may_start.set()
        with pytest.raises(kind, match=str(failure)) as raised:
            await bench.backend.start()
        assert str(raised.value).count("office: ") == 1

    assert played(scene) == []


def test_it_goes_on_where_a_login_page_is_in_the_way() -> None:
    async def scene(bench: Bench) -> None:
        bench.portals.answers = [False, True]
        await bench.backend.start()
        assert bench.portals.looks == 2
        Office.may_start.set()  # it was not given up
        await Office.has_started.wait()

    assert played(scene) == ["this network wants a login first"]


def test_one_that_fails_behind_a_login_page_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_backend, "DOUBT", 60.0)
    monkeypatch.setattr(Office, "failure", RemoteError("nobody is there"))

    async def scene(bench: Bench) -> None:
        bench.portals.answers = [True]
        Office.may_start.set()
        await bench.backend.start()
        assert len(bench.troubles) == 1

    first, last = played(scene)
    assert first == "this network wants a login first"
    assert last.startswith("not connected yet: office: ")
    assert "nobody is there" in last


def test_what_was_not_answered_is_tried_anew_once_somebody_has_logged_in() -> None:
    """No program shows the page any more: the way to it is closed already."""

    async def scene(bench: Bench) -> None:
        bench.portals.answers = [True, False]
        await bench.backend.start()
        bench.backend.mark_path()
        bench.interface.enter(ConnectionStatus.REASSERTING)
        await bench.backend.follow()
        assert bench.portals.looks == 2
        assert (await anext(Office.changes)).is_satisfied
        await Office.changes.aclose()

    played(scene)


def test_a_change_of_the_network_while_it_signs_in_is_followed() -> None:
    async def scene(bench: Bench) -> None:
        bench.portals.answers = [False, True]
        bench.portals.looked = lambda: setattr(bench.finder, "interface", "eth0")
        await bench.backend.start()
        bench.backend.mark_path()
        bench.portals.clear()
        bench.interface.enter(ConnectionStatus.CONNECTED)
        await bench.backend.follow()
        assert (await anext(Office.changes)).interface == "eth0"
        await Office.changes.aclose()

    assert "the network changed: eth0 from 192.0.2.7" in played(scene)


def test_nobody_waits_where_there_are_other_ways() -> None:
    two = plan_of_servers([Server(), Server(label="inner")])

    async def scene(bench: Bench) -> None:
        await bench.backend.start()
        assert bench.portals.looks == 0

    played(scene, two)


LINK = "openconnect://maria:secret@192.0.2.1?pin=pin-sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3D"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (f"server = '{LINK}'\n", True),
        ("server = 'socks5://192.0.2.1'\n", False),
        (f"rules = ['MATCH,one']\n[servers.one]\nurl = '{LINK}'\n", True),
        (f"rules = ['DOMAIN,lab.example,DIRECT', 'MATCH,one']\n[servers.one]\nurl = '{LINK}'\n", False),
        (
            f"rules = ['MATCH,one']\n[servers.one]\nurl = '{LINK}'\n[servers.two]\nurl = 'socks5://192.0.2.2'\n",
            False,
        ),
    ],
)
def test_which_plans_have_no_other_way(text: str, is_one: bool) -> None:
    assert compile_profile(parse(text, "p.toml")).is_one_packet_tunnel is is_one


def test_chains_have_no_other_way_either() -> None:
    socks = parse_server("socks5://192.0.2.1")
    assert plan_of_servers([socks, Server()]).is_one_packet_tunnel
    assert not plan_of_servers([]).is_one_packet_tunnel
    assert not replace(plan_of_servers([Server()]), may_leave_directly=True).is_one_packet_tunnel
