"""The process that serves a system-wide tunnel: engine, control socket, signals, log, in one thread and one loop."""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import math
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from tunflow.commands.demanded import DemandedTunnel
from tunflow.commands.flows import make_driver
from tunflow.commands.instructions import Instructions
from tunflow.commands.rights import Rights
from tunflow.commands.saying import say
from tunflow.commands.system_names import parse_dns, serve_names
from tunflow.control.client import NotRunning, ask
from tunflow.control.messages import Event, Request
from tunflow.control.server import ControlServer
from tunflow.device import Device
from tunflow.errors import LocalError, RemoteError
from tunflow.host.daemon import DaemonReport
from tunflow.host.log_file import LogFile
from tunflow.host.outer_resolvers import OuterResolvers
from tunflow.host.privileges import require_net_admin
from tunflow.host.runtime import InstanceLock, RuntimeDirectory
from tunflow.host.service_manager import ServiceManager
from tunflow.io.dialers import Dialer
from tunflow.io.driver import Driver
from tunflow.io.event_loop import ReactorLoop
from tunflow.io.hosting.watchdog import Watchdog
from tunflow.io.reactor import Reactor
from tunflow.io.sockets import SocketOptions
from tunflow.manager.engine import Engine
from tunflow.manager.filtering import Filtering, change
from tunflow.manager.last_end import LastEnd, LastEndFile, code_of
from tunflow.manager.plan import Plan, make_plan
from tunflow.manager.provider_engine import ProviderEngine
from tunflow.manager.vpn_error import VPNConnectionErrorCode
from tunflow.providers.status import ConnectionStatus
from tunflow.providers.stop_reason import ProviderStopReason


def serve_foreground(instructions: Instructions) -> int:
    """Serve until a signal or `tunflow down`; the exit status. Raises LocalError or RemoteError."""
    return _serve(instructions, None)


def serve_spawned() -> int:
    """Serve as the process that `tunflow up` started: instructions on stdin, log on stderr; the exit status."""
    report = DaemonReport()
    try:
        instructions = Instructions.from_data(json.loads(sys.stdin.buffer.read()))
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.close(null)
        os.chdir("/")
        return _serve(instructions, report)
    except LocalError as error:
        report.failed(str(error), error.exit_status)
        return error.exit_status
    except RemoteError as error:
        report.failed(str(error), 1)
        return 1


def _serve(instructions: Instructions, report: DaemonReport | None) -> int:
    require_net_admin()
    runtime = RuntimeDirectory.own()
    runtime.make()
    plan = make_plan(instructions.make_profile(), parse_dns)
    lock = InstanceLock(runtime.lock)
    _take_lock(lock, runtime, instructions.replace)
    log = LogFile(runtime.log)
    if report is None:
        log.open()
    else:
        log.take_over()
    ending = LastEndFile(runtime.path)
    ending.write(LastEnd(plan.profile.file, None, ""))
    rights = Rights(runtime, plan, log.say)
    reactor = Reactor()
    loop = ReactorLoop(reactor)
    try:
        daemon = Daemon(reactor, runtime, plan, instructions, log, report, rights)
        status = loop.run_until_complete(daemon.run())
        ending.write(daemon.end)
        return status
    except OSError as error:
        line = f"the tunnel cannot be made: {error.strerror or error}"
        ending.write(LastEnd(plan.profile.file, VPNConnectionErrorCode.CONFIGURATION_FAILED, line))
        raise LocalError(line) from error
    except (LocalError, RemoteError) as error:
        ending.write(LastEnd(plan.profile.file, code_of(error), str(error)))
        raise
    finally:
        loop.close()
        reactor.close()
        rights.leave()
        ending.close()
        lock.close()


def _take_lock(lock: InstanceLock, runtime: RuntimeDirectory, replace: bool) -> None:
    """Be the only one. With `replace` the tunnel that is up goes down first. Raises LocalError."""
    if lock.take():
        return
    if not lock.is_held_by_a_living_process:
        lock.wait()  # what a killed tunnel left is being taken back
        return
    if not replace:
        raise LocalError(
            f"a tunnel is up already (process {lock.holder}): tunflow reload changes it, up --replace replaces it, "
            "down takes it down"
        )
    with suppress(NotRunning):
        ask(runtime.control, "stop", keep=True)
    lock.wait()


class Daemon:
    """One tunnel with everything around it."""

    def __init__(
        self,
        reactor: Reactor,
        runtime: RuntimeDirectory,
        plan: Plan,
        instructions: Instructions,
        log: LogFile,
        report: DaemonReport | None,
        rights: Rights,
    ) -> None:
        self._rights = rights
        self._systemd = ServiceManager()
        self._filtering: Filtering | None = None
        self._watchdog: Watchdog | None = None
        self._reactor = reactor
        self._runtime = runtime
        self._plan = plan
        self._options = argparse.Namespace(verbose=instructions.verbose, memory_limit=math.inf)
        self._instructions = instructions
        self._log = log
        self._report = report
        self.end = LastEnd(plan.profile.file, None, "")
        """How the tunnel ended, once `run` has returned."""
        self._operations: dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]] = {
            "status": self._status,
            "stop": self._stop,
            "reload": self._reload,
            "message": self._message,
            "exec": self._exec,
            "groups": self._groups,
        }

    async def run(self) -> int:
        """Up, until told to stop or unable to go on; the exit status. Raises LocalError or RemoteError from start."""
        loop = asyncio.get_running_loop()
        self._over: asyncio.Future[tuple[ProviderStopReason, bool]] = loop.create_future()
        self._down: asyncio.Future[str | None] = loop.create_future()
        self._control = ControlServer(self._runtime.control, self._rights.owner, self._handle)
        self._log.listener = lambda line: self._control.tell(Event("log", {"line": line}))
        self._outer = OuterResolvers([str(ip_address(own)) for own in self._plan.inside])
        self._tunnel: Engine | ProviderEngine | DemandedTunnel
        if self._plan.profile.on_demand.enabled:
            self._tunnel = DemandedTunnel(self._plan, self._make_engine, self._outer.find, self._say)
        else:
            self._tunnel = self._make_engine(self._plan)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._end, ProviderStopReason.USER_INITIATED)
        await self._control.start()
        self._rights.drop()
        try:
            if isinstance(self._tunnel, DemandedTunnel):
                return await self._run_on_demand(self._tunnel)
            return await self._run(self._tunnel)
        finally:
            await self._control.close()
            if self._filtering is not None:
                if self._filtering.life is not None and self._watchdog is None:
                    self._watchdog = Watchdog(self._reactor, self._say)  # the engine's is gone with the engine
                await self._filtering.stop(ProviderStopReason.USER_INITIATED)
            if self._watchdog is not None:
                self._watchdog.close()

    def _make_engine(self, plan: Plan) -> Engine | ProviderEngine:
        if plan.profile.provider is not None:
            return ProviderEngine(
                plan,
                self._rights.network(),
                self._reactor,
                self._outer.find,
                self._make_driver,
                self._serve_names,
                self._say,
                self._status_changed,
                self._instructions.options,
            )
        return Engine(
            plan,
            self._rights.network(),
            self._outer.find,
            self._make_driver,
            self._serve_names,
            self._rights.groups,
            self._say,
            self._status_changed,
            takes_over=self._rights.takes_over(),
        )

    async def _run_on_demand(self, tunnel: DemandedTunnel) -> int:
        following = asyncio.create_task(tunnel.run())
        settled = asyncio.create_task(tunnel.settled.wait())
        await asyncio.wait((following, settled, self._over), return_when=asyncio.FIRST_COMPLETED)
        if settled.done():
            if self._report is not None:
                self._report.ready(tunnel.status())
            self._systemd.tell("READY=1")
            await asyncio.wait((following, self._over), return_when=asyncio.FIRST_COMPLETED)
        settled.cancel()
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        reason, keep = self._over.result()
        self._rights.keep_settings = keep
        self._systemd.tell("STOPPING=1")
        return await self._stopped(tunnel.disconnect(reason, keep=keep))

    async def _run(self, engine: Engine | ProviderEngine) -> int:
        starting = asyncio.create_task(engine.start())
        await asyncio.wait((starting, self._over), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            with suppress(asyncio.CancelledError):
                await starting
            self._down.set_result(None)
            raise RemoteError("it was taken down before it was connected")
        starting.result()
        self._say(f"{self._plan.host.device} carries everything through {', '.join(self._plan.labels)}")
        if self._report is not None:
            self._report.ready(engine.status())
        self._systemd.tell("READY=1")
        await asyncio.wait((self._over, engine.ended), return_when=asyncio.FIRST_COMPLETED)
        failed = not self._over.done()
        if failed:
            self._say(engine.ended.result())
            self.end = self.end._replace(code=VPNConnectionErrorCode.PLUGIN_FAILED, line=engine.ended.result())
        reason, keep = (ProviderStopReason.PROVIDER_FAILED, False) if failed else self._over.result()
        self._rights.keep_settings = keep
        self._systemd.tell("STOPPING=1")
        return await self._stopped(engine.stop(reason, keep=keep)) or int(failed)

    async def _stopped(self, stopping: Awaitable[None]) -> int:
        """The exit status of a tunnel that goes down; who asked for it is told."""
        try:
            await stopping
        except LocalError as error:
            self._say(str(error))
            self._down.set_result(str(error))
            return 1
        self._down.set_result(None)
        return 0

    def _end(self, reason: ProviderStopReason, keep: bool = False) -> None:
        if not self._over.done():
            self._over.set_result((reason, keep))

    def _say(self, line: str) -> None:
        self._log.say(line)
        if self._report is None:
            say(line)

    def _status_changed(self, status: ConnectionStatus) -> None:
        self._log.say(status.word)
        self._control.tell(Event("status", {"status": status.word}))

    def _make_driver(self, device: Device, dialer: Dialer, plan: Plan, sockets: SocketOptions) -> Driver:
        options = self._options
        driver = make_driver(self._reactor, device, dialer, options, plan.resolver, plan.inside, sockets, self._say)
        driver.find_process = self._rights.find_process
        return driver

    def _serve_names(self, driver: Driver, plan: Plan) -> None:
        serve_names(driver, plan)
        self._filtering = change(driver, plan.profile, self._filtering, self._say)
        is_own = self._filtering is not None and self._filtering.life is not None
        if is_own and plan.profile.provider is None and self._watchdog is None:  # a provider's tunnel has one
            self._watchdog = Watchdog(self._reactor, self._say)

    # What clients ask.

    async def _handle(self, request: Request) -> dict[str, Any]:
        operation = self._operations.get(request.operation)
        if operation is None:
            accepted = ", ".join((*self._operations, "watch"))
            raise LocalError(f"no operation {request.operation!r}: there are {accepted}")
        return await operation(request.arguments)

    async def _status(self, _: dict[str, Any]) -> dict[str, Any]:
        return self._tunnel.status()

    async def _groups(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """What groups use; with a group and a member, after that was chosen."""
        engine = self._tunnel.engine if isinstance(self._tunnel, DemandedTunnel) else self._tunnel
        if not isinstance(engine, Engine):
            raise LocalError("there are no groups of servers: the tunnel is a provider's, or not up")
        group, member = arguments.get("group"), arguments.get("member")
        chosen = (str(group), str(member)) if group is not None and member is not None else None
        return {"groups": engine.groups(chosen)}

    async def _stop(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self._end(
            ProviderStopReason.SUPERSEDED if arguments.get("keep") else ProviderStopReason.USER_INITIATED,
            bool(arguments.get("keep")),
        )
        failure = await asyncio.shield(self._down)
        if failure is not None:
            raise RemoteError(failure)
        return {"pid": os.getpid()}

    async def _exec(self, arguments: dict[str, Any]) -> dict[str, Any]:
        engine = self._tunnel.engine if isinstance(self._tunnel, DemandedTunnel) else self._tunnel
        if engine is None:
            raise LocalError("the tunnel is not up now: its on-demand rules do not want it")
        return await engine.admit(bypass=arguments.get("bypass") is True)

    async def _message(self, arguments: dict[str, Any]) -> dict[str, Any]:
        engine = self._tunnel.engine if isinstance(self._tunnel, DemandedTunnel) else self._tunnel
        if not isinstance(engine, ProviderEngine):
            raise LocalError("no provider is running: nobody answers messages")
        try:
            data = base64.b64decode(str(arguments.get("data", "")), validate=True)
        except ValueError:
            raise LocalError("data: expected base64") from None
        answer = await engine.send_message(data)
        return {"data": None if answer is None else base64.b64encode(answer).decode()}

    async def _reload(self, arguments: dict[str, Any]) -> dict[str, Any]:
        profile = Instructions.from_data(arguments).make_profile()
        # Rules by the ten thousand take a while to read: flows go on meanwhile.
        plan = await asyncio.get_running_loop().run_in_executor(None, make_plan, profile, parse_dns)
        self._rights.check(plan)
        await self._tunnel.reload(plan)
        return self._tunnel.status()
