"""The life of a system-wide tunnel, whatever carries it: a backend and a host that write down what is asked of them."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tunflow.errors import LocalError, RemoteError
from tunflow.host.network.helper import HelperNetwork, SupervisorGone
from tunflow.host.network.settings import HostSettings
from tunflow.loop.reactor import Reactor
from tunflow.providers.status import ConnectionStatus
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.tunnel.assemble import ServingContext
from tunflow.tunnel.backend import Backend
from tunflow.tunnel.engine import Engine
from tunflow.tunnel.plan import Plan, plan_of_servers
from tunflow.tunnel.process_filter import ProcessFilter
from tunflow.tunnel.tunnel_interface import TunnelContext, TunnelInterface


class Nowhere:
    """A host without a device, that nothing is done to."""

    device = None
    settings = None

    def __init__(self) -> None:
        self.undone: list[bool] = []

    def apply(self, settings: HostSettings) -> None:
        raise AssertionError(settings)

    def undo(self, *, keep_kill_switch: bool = False) -> None:
        self.undone.append(keep_kill_switch)


class Recorded(Backend):
    """Fails as it is told to, one error for each call."""

    path = None

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failures: dict[str, list[BaseException]] = {}
        self.followed = asyncio.Event()

    def _note(self, name: str) -> None:
        self.calls.append(name)
        if failures := self.failures.get(name):
            raise failures.pop(0)

    async def start(self) -> None:
        self._note("start")

    def mark_path(self) -> None:
        self._note("mark_path")

    async def stop(self, reason: ProviderStopReason) -> None:
        self._note(f"stop {reason.name}")

    async def reload(self, plan: Plan) -> None:
        self._note("reload")

    async def follow(self) -> float:
        self._note("follow")
        self.followed.set()
        return 0

    def woke(self) -> None:
        self._note("woke")

    async def check(self) -> None:
        self._note("check")

    def facts(self, facts: dict[str, Any]) -> dict[str, Any]:
        return facts

    async def admit(self, *, bypass: bool) -> dict[str, Any]:
        raise AssertionError(bypass)

    async def show_portal(self, pid: int) -> dict[str, Any]:
        raise AssertionError(pid)


class Bench:
    """An engine on nothing."""

    def __init__(self, reactor: Reactor) -> None:
        self.said: list[str] = []
        self.states: list[ConnectionStatus] = []
        self.host = Nowhere()
        serving = ServingContext(reactor, self.said.append, ProcessFilter(reactor, self.said.append))
        self.interface = TunnelInterface(
            plan_of_servers([]), TunnelContext(self.host, list, serving, self.states.append)
        )
        self.backend = Recorded()
        self.engine = Engine(plan_of_servers([]), self.interface, self.backend, retry_at_most=0.001)


@pytest.fixture
def reactor():
    made = Reactor()
    yield made
    made.close()


def test_up_and_down(reactor: Reactor) -> None:
    async def scene() -> None:
        bench = Bench(reactor)
        await bench.engine.start()
        assert bench.engine.status()["status"] == "connected"
        await bench.engine.stop(ProviderStopReason.USER_INITIATED)
        assert bench.backend.calls == ["start", "mark_path", "stop USER_INITIATED"]
        assert bench.host.undone == [False]
        assert bench.said == ["stopping: user initiated"]
        assert [state.name for state in bench.states] == ["CONNECTING", "CONNECTED", "DISCONNECTING", "DISCONNECTED"]

    asyncio.run(scene())


@pytest.mark.parametrize("step", ["start", "mark_path"])
def test_a_start_that_fails_ends_what_runs_and_puts_the_host_back(reactor: Reactor, step: str) -> None:
    async def scene() -> None:
        bench = Bench(reactor)
        bench.backend.failures[step] = [RemoteError("nobody is there")]
        with pytest.raises(RemoteError, match="nobody is there"):
            await bench.engine.start()
        assert bench.backend.calls[-1] == "stop CONNECTION_FAILED"
        assert bench.host.undone == [True]  # a kill switch that was found stays
        assert bench.states[-1] is ConnectionStatus.DISCONNECTED

    asyncio.run(scene())


def test_the_host_is_put_back_though_the_backend_does_not_stop(reactor: Reactor) -> None:
    async def scene() -> None:
        bench = Bench(reactor)
        await bench.engine.start()
        bench.backend.failures["stop NONE"] = [LocalError("no")]
        with pytest.raises(LocalError):
            await bench.engine.stop(ProviderStopReason.NONE)
        assert bench.host.undone == [False]
        assert bench.states[-1] is ConnectionStatus.DISCONNECTED

    asyncio.run(scene())


def test_the_network_is_followed_until_it_carries_again(reactor: Reactor) -> None:
    async def scene() -> None:
        bench = Bench(reactor)
        await bench.engine.start()
        bench.backend.failures["follow"] = [RemoteError("no route"), OSError(101, "unreachable")]
        bench.interface.look_again.set()
        await asyncio.wait_for(bench.backend.followed.wait(), 30)
        assert bench.backend.calls.count("follow") == 3
        assert bench.said == ["not connected yet: no route", "not connected yet: [Errno 101] unreachable"]
        await bench.engine.stop(ProviderStopReason.NONE)

    asyncio.run(scene())


def test_without_its_supervisor_it_follows_nothing_and_says_why(reactor: Reactor) -> None:
    async def scene() -> None:
        bench = Bench(reactor)
        ours, theirs = socket.socketpair()
        with ours:
            helper = HelperNetwork(ours)
            theirs.close()
            with pytest.raises(SupervisorGone) as gone:
                helper.undo()
        await bench.engine.start()
        bench.backend.failures["follow"] = [gone.value]
        bench.interface.look_again.set()
        async with asyncio.timeout(30):
            while not bench.said:
                await asyncio.sleep(0)
        bench.interface.look_again.set()
        await asyncio.sleep(0)
        assert bench.said == [str(gone.value)]
        assert bench.backend.calls.count("follow") == 1
        assert "the supervisor" in bench.said[0]
        assert "not connected yet" not in bench.said[0]
        await bench.engine.stop(ProviderStopReason.NONE)

    asyncio.run(scene())


def test_a_reload_that_fails_keeps_the_plan(reactor: Reactor) -> None:
    async def scene() -> None:
        bench = Bench(reactor)
        await bench.engine.start()
        before, other = bench.engine.plan, plan_of_servers([])
        bench.backend.failures["reload"] = [LocalError("a wrong plan")]
        with pytest.raises(LocalError):
            await bench.engine.reload(other)
        assert bench.engine.plan is before
        await bench.engine.reload(other)
        assert bench.engine.plan is other
        await bench.engine.stop(ProviderStopReason.NONE)

    asyncio.run(scene())


def test_what_is_over_is_over_once(reactor: Reactor) -> None:
    async def scene() -> None:
        bench = Bench(reactor)
        await bench.engine.start()
        bench.interface.over("the provider ended the tunnel")
        bench.interface.over("and again")
        assert bench.engine.ended.result() == "the provider ended the tunnel"
        assert not bench.engine.is_lost
        await bench.engine.stop(ProviderStopReason.PROVIDER_FAILED)

    asyncio.run(scene())


def test_what_only_one_kind_can_do_is_refused(reactor: Reactor) -> None:
    async def scene() -> None:
        engine = Bench(reactor).engine
        with pytest.raises(LocalError, match="there are no groups of servers"):
            engine.groups()
        with pytest.raises(LocalError, match="no provider is running"):
            await engine.send_message(b"")

    asyncio.run(scene())
