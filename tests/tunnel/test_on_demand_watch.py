"""The tunnel comes and goes with the network, without looking at a clock or twice at the same network."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from tunflow.errors import LocalError, RemoteError
from tunflow.loop.sockets import SocketOptions
from tunflow.profiles.file import parse
from tunflow.profiles.sections.on_demand import OnDemandRuleSection
from tunflow.providers.network_path import InterfaceType, NetworkPath, PathStatus
from tunflow.providers.on_demand import OnDemandRuleConnect, OnDemandRuleDisconnect, Probe, Question
from tunflow.tunnel import web_probe
from tunflow.tunnel.on_demand_rules import RETRY_AT_FIRST, OnDemand
from tunflow.tunnel.server_names import ServerNames

RULES = (
    OnDemandRuleDisconnect(ssid_match=("Home",)),
    OnDemandRuleConnect(interface_type_match=InterfaceType.WIFI),
    OnDemandRuleConnect(probe_url="http://p/"),
)
NOWHERE = NetworkPath(PathStatus.UNSATISFIED)


def wifi(ssid: str) -> NetworkPath:
    return NetworkPath(PathStatus.SATISFIED, "wlan0", InterfaceType.WIFI, ssid=ssid)


CABLE = NetworkPath(PathStatus.SATISFIED, "eth0", InterfaceType.ETHERNET)


class World:
    """A network, a tunnel, and the watch between them; each a list of what happened."""

    def __init__(self) -> None:
        self.path = NOWHERE
        self.is_up = self.is_held = False
        self.events: list[str] = []
        self.asked: list[Question] = []
        self.said: list[str] = []
        self.answer = False
        self.failures = 0
        self.watch = OnDemand(RULES, self.look, self.ask, self, self.said.append)

    async def look(self) -> NetworkPath:
        return self.path

    async def ask(self, question: Question) -> bool:
        self.asked.append(question)
        return self.answer

    async def connect(self) -> None:
        self.events.append("connect")
        if self.failures:
            self.failures -= 1
            raise RemoteError("no answer")
        self.is_up = True

    async def disconnect(self) -> None:
        self.events.append("disconnect")
        self.is_up = self.is_held = False

    async def go(self, path: NetworkPath) -> list[str]:
        """Be on another network; what that led to."""
        self.path = path
        self.events.clear()
        self.watch.settled.clear()
        self.watch.changed()
        await self.watch.settled.wait()
        return list(self.events)


def run(test: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        world = World()
        watching = asyncio.create_task(world.watch.run())
        try:
            await test(world)
        finally:
            watching.cancel()

    asyncio.run(main())


def test_the_tunnel_follows_the_network() -> None:
    async def test(world: World) -> None:
        assert await world.go(NOWHERE) == []
        assert await world.go(wifi("Cafe")) == ["connect"]
        assert await world.go(wifi("Cafe")) == []
        assert await world.go(NOWHERE) == []
        assert world.is_up
        assert await world.go(wifi("Home")) == ["disconnect"]
        assert await world.go(CABLE) == []  # the probe says no, and no rule is left
        world.answer = True
        assert await world.go(CABLE) == []  # the same network is not probed again
        assert await world.go(wifi("Home")) == []
        assert await world.go(CABLE) == ["connect"]
        assert world.asked == [Probe("http://p/")] * 2

    run(test)


def test_a_host_that_is_closed_is_opened_once_no_tunnel_is_wanted() -> None:
    async def test(world: World) -> None:
        world.failures, world.is_held = 1, True
        assert await world.go(wifi("Cafe")) == ["connect"]
        assert world.said[-1] == "not connected: no answer; nothing goes out until it is (kill switch)"
        assert await world.go(wifi("Home")) == ["disconnect"]
        assert not world.is_held

    run(test)


def test_other_rules_are_followed_at_once() -> None:
    async def test(world: World) -> None:
        assert await world.go(wifi("Cafe")) == ["connect"]
        world.watch.settled.clear()
        world.watch.use([OnDemandRuleDisconnect()])
        await world.watch.settled.wait()
        assert not world.is_up

    run(test)


def test_a_tunnel_that_cannot_come_up_is_tried_again() -> None:
    async def test(world: World) -> None:
        loop = asyncio.get_running_loop()
        delays: list[float] = []
        call_at = loop.call_at

        def soon(when: float, callback, *arguments, **options):
            delays.append(round(when - loop.time()))
            return call_at(loop.time(), callback, *arguments, **options)

        loop.call_at = soon  # type: ignore[method-assign]
        world.failures = 3
        await world.go(wifi("Cafe"))
        while not world.is_up:
            world.watch.settled.clear()
            await world.watch.settled.wait()
        assert world.events == ["connect"] * 4
        assert delays == [RETRY_AT_FIRST, 2 * RETRY_AT_FIRST, 4 * RETRY_AT_FIRST]
        assert "not connected: no answer" in world.said

    run(test)


PROFILE = """
[on_demand]
enabled = true
rules = [
  { action = "disconnect", interface_type = "wifi", ssid = ["Home"] },
  { action = "evaluate-connection", search_domains = ["corp.example"], connections = [
    { domains = ["corp.example"], action = "connect-if-needed", dns_servers = ["10.0.0.53"] },
    { domains = ["example.org"], action = "never-connect" },
  ] },
  { action = "connect", dns_servers = ["10.0.0.1"], probe_url = "https://p.example/" },
]
"""


def test_rules_of_a_profile_and_back() -> None:
    section = parse(PROFILE, "p.toml").on_demand
    assert [OnDemandRuleSection.of(rule) for rule in section.made()] == list(section.rules)
    assert section.made()[0] == OnDemandRuleDisconnect(interface_type_match=InterfaceType.WIFI, ssid_match=("Home",))


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (
            '{action="connect"},\n{action="disconnect", ssid=["a"]}',
            "p.toml:4: on_demand.rules[1] can never match: rule 1",
        ),
        ('\n{action="connect", interface_type="ethernet", ssid=["a"]}', "p.toml:4: on_demand.rules[0] only Wi-Fi has"),
        ('{action="connect", dns_servers=[]}', "p.toml:3: on_demand.rules[0] its dns_server_address_match is empty"),
    ],
)
def test_a_rule_that_can_never_match_is_refused(rules: str, said: str) -> None:
    with pytest.raises(LocalError) as caught:
        parse(f"[on_demand]\nrules = [\n{rules}\n]", "p.toml")
    assert str(caught.value).startswith(said)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/") or 200))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_only_status_200_is_an_answer() -> None:
    async def ask(url: str) -> bool:
        return await web_probe.answers(url, ServerNames(SocketOptions(), tuple), SocketOptions())

    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            site = f"http://127.0.0.1:{server.server_port}"
            found = {path: asyncio.run(ask(site + path)) for path in ("/200", "/204", "/302", "/404", "")}
            assert found == {"/200": True, "/204": False, "/302": False, "/404": False, "": True}
            assert not asyncio.run(ask(site.replace("http", "https")))
        finally:
            server.shutdown()
            thread.join()
    assert not asyncio.run(ask(site))
    assert not asyncio.run(ask("http://nowhere.invalid/"))
