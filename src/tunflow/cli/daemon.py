"""The process that serves a system-wide tunnel: engine, control socket, signals, log, in one thread and one loop."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from tunflow.addresses import ip_address
from tunflow.cli.flows import make_context
from tunflow.cli.instructions import Instructions
from tunflow.cli.requests import Ending, Requests
from tunflow.cli.rights import Rights
from tunflow.cli.saying import say
from tunflow.cli.system_names import parse_dns, serve_names
from tunflow.control.client import NotRunning, ask
from tunflow.control.messages import Event
from tunflow.control.server import ControlServer
from tunflow.dataplane.admission import Admission
from tunflow.dataplane.driver import Driver
from tunflow.device import Device
from tunflow.errors import LocalError, RemoteError
from tunflow.host.daemon import DaemonReport
from tunflow.host.log_file import LogFile
from tunflow.host.netlink.neighbours import Neighbours
from tunflow.host.resolvers.outer_resolvers import OuterResolvers
from tunflow.host.rights.privileges import require_net_admin
from tunflow.host.runtime import InstanceLock, RuntimeDirectory
from tunflow.host.service_manager import ServiceManager
from tunflow.loop.event_loop import ReactorLoop
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import SocketOptions
from tunflow.protocols.contract import Outbound
from tunflow.providers.status import ConnectionStatus
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.tunnel.last_end import LastEnd, LastEndFile, code_of
from tunflow.tunnel.local_end import Equipment
from tunflow.tunnel.plan import Plan, make_plan
from tunflow.tunnel.rule_lists import RuleLists
from tunflow.tunnel.tunnel import Tunnel
from tunflow.tunnel.vpn_error import VPNConnectionErrorCode

if TYPE_CHECKING:
    from tunflow.hosting.watchdog import Watchdog
    from tunflow.tunnel.filtering import Filtering


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
    profile = instructions.make_profile()
    notes: list[str] = []
    plan = make_plan(profile, parse_dns, RuleLists(profile, notes.append))
    lock = InstanceLock(runtime.lock)
    _take_lock(lock, runtime, instructions.replace)
    log = LogFile(runtime.log)
    if report is None:
        log.open()
    else:
        log.take_over()
    for note in notes:
        log.say(note)
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
        self._neighbours = Neighbours()
        self._runtime = runtime
        self._plan = plan
        self._options = argparse.Namespace(verbose=instructions.verbose, memory_limit=math.inf)
        self._instructions = instructions
        self._log = log
        self._report = report
        self._outer = OuterResolvers([str(ip_address(own)) for own in plan.inside])
        self.end = LastEnd(plan.profile.file, None, "")
        """How the tunnel ended, once `run` has returned."""

    async def run(self) -> int:
        """Up, until told to stop or unable to go on; the exit status. Raises LocalError or RemoteError from start."""
        tunnel, ending = self._make_tunnel(), Ending()
        requests = Requests(tunnel, self._rights, ending)
        self._control = ControlServer(self._runtime.control, self._rights.owner, requests.handle)
        self._log.listener = lambda line: self._control.tell(Event("log", {"line": line}))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ending.ask, ProviderStopReason.USER_INITIATED)
        await self._control.start()
        self._rights.drop()
        try:
            return await self._run(tunnel, ending)
        finally:
            await self._control.close()
            if self._filtering is not None:
                if self._filtering.life is not None and self._watchdog is None:
                    self._watch()  # the engine's watchdog is gone with the engine
                await self._filtering.stop(ProviderStopReason.USER_INITIATED)
            if self._watchdog is not None:
                self._watchdog.close()

    async def _run(self, tunnel: Tunnel, ending: Ending) -> int:
        starting = asyncio.create_task(tunnel.start())
        await asyncio.wait((starting, ending.asked), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            with suppress(asyncio.CancelledError):
                await starting
            ending.down(None)
            raise RemoteError("it was taken down before it was connected")
        starting.result()
        facts = tunnel.status()
        if facts["device"] is not None:
            self._say(f"{facts['device']} carries everything through {', '.join(self._plan.labels)}")
        if self._report is not None:
            self._report.ready(facts)
        self._systemd.tell("READY=1")
        await asyncio.wait((ending.asked, tunnel.ended), return_when=asyncio.FIRST_COMPLETED)
        failed = not ending.asked.done()
        if failed:
            self._say(tunnel.ended.result())
            self.end = self.end._replace(code=VPNConnectionErrorCode.PLUGIN_FAILED, line=tunnel.ended.result())
        reason, keep = (ProviderStopReason.PROVIDER_FAILED, False) if failed else ending.asked.result()
        self._rights.keep_settings = keep
        self._systemd.tell("STOPPING=1")
        try:
            await tunnel.stop(reason, keep=keep)
        except LocalError as error:
            self._say(str(error))
            ending.down(str(error))
            return 1
        ending.down(None)
        return int(failed)

    def _say(self, line: str) -> None:
        self._log.say(line)
        if self._report is None:
            say(line)

    def _status_changed(self, status: ConnectionStatus) -> None:
        self._log.say(status.word)
        self._control.tell(Event("status", {"status": status.word}))

    # What a tunnel is made of. A kind that is not asked for is not imported: `up` would wait for it.

    def _make_tunnel(self) -> Tunnel:
        """The plan's. Raises LocalError."""
        if not self._plan.profile.on_demand.enabled:
            return self._make_engine(self._plan)
        from tunflow.tunnel.on_demand import DemandedTunnel  # noqa: PLC0415

        return DemandedTunnel(self._plan, self._make_engine, self._outer.find, self._say)

    def _make_engine(self, plan: Plan) -> Tunnel:
        equipment = Equipment(
            self._rights.network(),
            self._outer.find,
            self._make_driver,
            self._serve_names,
            self._say,
            self._status_changed,
        )
        if plan.profile.provider is not None:
            from tunflow.tunnel.provider_engine import ProviderEngine  # noqa: PLC0415

            return ProviderEngine(plan, equipment, self._reactor, self._instructions.options)
        from tunflow.tunnel.engine import Engine  # noqa: PLC0415

        return Engine(plan, equipment, self._rights.groups, takes_over=self._rights.takes_over())

    def _make_driver(self, device: Device, dialer: Outbound, plan: Plan, sockets: SocketOptions) -> Driver:
        context = make_context(self._reactor, device, self._options, plan.inside, sockets, self._say)
        return Driver(context, Admission(context, dialer, find_process=self._rights.find_process))

    def _serve_names(self, driver: Driver, plan: Plan) -> None:
        serve_names(driver, plan)
        self._neighbours.interfaces = plan.host.gateways
        if plan.profile.filter is None and self._filtering is None:
            return
        from tunflow.tunnel.filtering import change  # noqa: PLC0415

        opens, find = self._rights.open_file, self._neighbours.find
        self._filtering = change(driver, plan.profile, self._filtering, self._say, opens, find)
        is_own = self._filtering is not None and self._filtering.life is not None
        if is_own and plan.profile.provider is None and self._watchdog is None:  # a provider's tunnel has one
            self._watch()

    def _watch(self) -> None:
        from tunflow.hosting.watchdog import Watchdog  # noqa: PLC0415

        self._watchdog = Watchdog(self._reactor, self._say)
