"""Hotspot helpers are asked by Apple's rules, and a mistake of one is its own."""

from __future__ import annotations

import asyncio
import runpy
import sys
from pathlib import Path

import pytest

from tunflow.errors import LocalError
from tunflow.host.wifi.backend import WifiBackend
from tunflow.loop.sockets import UNMARKED
from tunflow.providers.hotspot_network import HotspotHelperConfidence, HotspotNetwork
from tunflow.providers.hotspot_states import HotspotHelperCommandType, HotspotHelperResult, HotspotState
from tunflow.tunnel.hotspot_configuration import HotspotConfiguration, HotspotConfigurationManager
from tunflow.tunnel.hotspot_helper import HotspotHelper, HotspotHelperCommand, HotspotHelperResponse, HotspotSession

C, R = HotspotHelperCommandType, HotspotHelperResult
HOTEL = HotspotNetwork("Hotel", "00:11:22:33:44:55", 0.7, is_secure=False)
HOME = HotspotNetwork("Home", "00:11:22:33:44:66", 0.9, is_secure=True)


class Helper:
    """Takes networks with a confidence, and answers other commands with what is next in `results`."""

    def __init__(self, confidence: HotspotHelperConfidence, *results: HotspotHelperResult) -> None:
        self.confidence = confidence
        self.results = list(results)
        self.asked: list[HotspotHelperCommandType] = []

    async def handle(self, command: HotspotHelperCommand) -> HotspotHelperResponse | None:
        self.asked.append(command.command_type)
        if command.command_type is C.EVALUATE:
            assert command.network is not None
            command.network.set_confidence(self.confidence)
            response = command.create_response(R.SUCCESS)
            response.set_network(command.network)
            return response
        if command.command_type is C.FILTER_SCAN_LIST:
            own = [each for each in command.network_list if each.ssid == "Hotel"]
            for each in own:
                each.set_confidence(self.confidence)
                each.set_password("guest")
            response = command.create_response(R.SUCCESS)
            response.set_network_list(own)
            return response
        return command.create_response(self.results.pop(0))


def session(**helpers: Helper) -> HotspotSession:
    return HotspotSession({name: helper.handle for name, helper in helpers.items()}, UNMARKED, lambda _: None)


LOW, HIGH, NONE = HotspotHelperConfidence.LOW, HotspotHelperConfidence.HIGH, HotspotHelperConfidence.NONE


def test_the_highest_confidence_wins_and_high_ends_the_poll() -> None:
    low, high, late = Helper(LOW), Helper(HIGH, R.SUCCESS), Helper(HIGH)
    one = session(low=low, high=high, late=late)
    asyncio.run(one.joined(HOTEL))
    assert (one.state, one.chosen) == (HotspotState.AUTHENTICATED, "high")
    assert (low.asked, high.asked, late.asked) == ([C.EVALUATE], [C.EVALUATE, C.AUTHENTICATE], [])


def test_nobodys_network() -> None:
    helper = Helper(NONE)
    one = session(helper=helper)

    async def scenario() -> None:
        await one.joined(HOME)
        await one.period()

    asyncio.run(scenario())
    assert (one.state, one.chosen, helper.asked) == (HotspotState.AUTHENTICATED, None, [C.EVALUATE])


def test_a_whole_life() -> None:
    helper = Helper(HIGH, R.UI_REQUIRED, R.SUCCESS, R.AUTHENTICATION_REQUIRED, R.SUCCESS, R.SUCCESS)
    one = session(helper=helper)

    async def scenario() -> None:
        await one.joined(HOTEL)
        await one.period()
        await one.logoff()
        await one.left()

    asyncio.run(scenario())
    ui, maintain = [C.AUTHENTICATE, C.PRESENT_UI], [C.MAINTAIN, C.AUTHENTICATE]
    assert helper.asked == [C.EVALUATE, *ui, *maintain, C.LOGOFF]
    assert one.state is HotspotState.IDLE


def test_one_that_does_not_support_it_makes_place_for_the_next() -> None:
    first, second = Helper(HIGH, R.UNSUPPORTED_NETWORK), Helper(LOW, R.SUCCESS)
    one = session(first=first, second=second)
    asyncio.run(one.joined(HOTEL))
    assert (one.state, one.chosen) == (HotspotState.AUTHENTICATED, "second")


def test_a_mistake_of_a_helper() -> None:
    said: list[str] = []

    async def broken(_: HotspotHelperCommand) -> HotspotHelperResponse | None:
        raise ValueError("oh")

    good = Helper(LOW, R.FAILURE)
    one = HotspotSession({"broken": broken, "good": good.handle}, UNMARKED, said.append)
    asyncio.run(one.joined(HOTEL))
    assert one.state is HotspotState.FAILED
    assert "broken: EVALUATE failed: ValueError: oh" in said


def test_the_scan_list() -> None:
    own = asyncio.run(session(a=Helper(NONE), b=Helper(LOW)).filter_scan_list([HOTEL, HOME]))
    assert [(each.ssid, each.password) for each in own] == [("Hotel", "guest")]
    assert HOTEL.password is None


class FakeWifi(WifiBackend):
    """Is on a network that a test sets."""

    name = "a test"

    def __init__(self) -> None:
        super().__init__("lo")
        self.known: dict[str, str | None] = {}
        self.on: HotspotNetwork | None = HOTEL

    def networks(self) -> list[HotspotNetwork]:
        return [HOTEL, HOME]

    def current(self) -> HotspotNetwork | None:
        return self.on

    def join(self, ssid: str, passphrase: str | None) -> None:
        self.known[ssid] = passphrase

    def forget(self, ssid: str) -> None:
        del self.known[ssid]

    def saved(self) -> list[str]:
        return list(self.known)


def test_configurations() -> None:
    wifi = FakeWifi()
    manager = HotspotConfigurationManager(wifi)

    async def scenario() -> list[str]:
        await manager.apply(HotspotConfiguration("Home", "correct horse"))
        await manager.apply(HotspotConfiguration("Hotel"))
        await manager.remove_configuration("Hotel")
        return await manager.configured_ssids()

    assert asyncio.run(scenario()) == ["Home"]
    assert wifi.known == {"Home": "correct horse"}
    assert "correct" not in repr(HotspotConfiguration("Home", "correct horse"))
    for ssid in ("", "x" * 33):
        with pytest.raises(LocalError, match="1 to 32 bytes"):
            HotspotConfiguration(ssid)


def test_the_example_logs_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By a connection of its own to a server here, on a network of that name."""
    monkeypatch.setenv("TUNFLOW_RUNTIME_DIR", str(tmp_path))
    logged_in = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (await reader.readline()).startswith(b"GET /login "):
            logged_in.set()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setattr(sys, "argv", ["hotspot_helper.py", "Hotel", f"http://127.0.0.1:{port}/login"])
        example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "hotspot_helper.py"))
        assert HotspotHelper.register("hotel", example["handle"])
        assert not HotspotHelper.register("hotel", example["handle"])
        running = asyncio.create_task(HotspotHelper.run(FakeWifi()))
        async with asyncio.timeout(60):
            await logged_in.wait()
        running.cancel()
        server.close()

    asyncio.run(scenario())
