"""`tunflow up` from the terminal's command to the two processes of a tunnel: the supervisor, and the one that serves.

The supervisor checks all that can be checked, holds the lock, and keeps root's rights; what it forks serves
(`cli.daemon`), and is forked again when it dies (`host.supervisor`).
"""

from __future__ import annotations

import gc
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tunflow.cli.api import profiles_for_page
from tunflow.cli.daemon import Daemon
from tunflow.cli.instructions import Instructions
from tunflow.cli.made_plan import made_plan
from tunflow.cli.rights import Rights
from tunflow.cli.serving_context import check_pcap, open_pcap
from tunflow.cli.stderr import say
from tunflow.control.client import ask
from tunflow.errors import LocalError, RemoteError
from tunflow.host.daemon import DaemonReport
from tunflow.host.log_file import LogFile
from tunflow.host.network.helper import HelperService
from tunflow.host.network.ssh_session import ssh_session
from tunflow.host.restart_memory import RestartMemory
from tunflow.host.rights.privileges import require_net_admin
from tunflow.host.runtime import InstanceLock, RuntimeDirectory
from tunflow.host.supervised_process import SupervisorLink
from tunflow.host.supervisor import Supervisor
from tunflow.loop.event_loop import ReactorLoop
from tunflow.loop.reactor import Reactor
from tunflow.single_values import json_value
from tunflow.tunnel.app_groups import AppGroups
from tunflow.tunnel.last_disconnect import LastDisconnect, LastDisconnectFile, code_of
from tunflow.tunnel.plan import Plan
from tunflow.tunnel.vpn_error import VPNConnectionErrorCode

REPLACE_PATIENCE = 6.0
"""Seconds for a tunnel to end that another takes over from."""


def serve_foreground(instructions: Instructions) -> int:
    """Serve until a signal or `tunflow down`; the exit status. Raises LocalError or RemoteError."""
    return _supervise(instructions, None)


def serve_spawned() -> int:
    """Serve as the process that `tunflow up` started: instructions on stdin, log on stderr; the exit status."""
    report = DaemonReport()
    try:
        instructions = Instructions.from_data(json_value(sys.stdin.buffer.read()))
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.close(null)
        os.chdir("/")
        return _supervise(instructions, report)
    except LocalError as error:
        report.failed(str(error), error.exit_status)
        return error.exit_status
    except RemoteError as error:
        report.failed(str(error), 1)
        return 1


@dataclass(frozen=True, slots=True)
class Station:
    """What a process that serves the tunnel has from its supervisor, whose copy it is."""

    runtime: RuntimeDirectory
    instructions: Instructions
    plan: Plan
    log: LogFile
    report: DaemonReport | None
    groups: AppGroups
    pcap: BinaryIO | None
    """Gets every packet; opened once, so that a process that was started again goes on with it."""
    profiles: dict[str, Path]
    """Those that the page may have the tunnel use."""

    def say(self, line: str) -> None:
        """In the log, and in the foreground to people as well."""
        self.log.say(line)
        if self.report is None:
            say(line)

    def leave_report(self) -> None:
        """The process that serves has reported: no other will."""
        if self.report is not None:
            self.report.close()


def _supervise(instructions: Instructions, report: DaemonReport | None) -> int:
    """Raises LocalError."""
    require_net_admin()
    runtime = RuntimeDirectory.own()
    runtime.make()
    plan, instructions, notes = made_plan(instructions)
    check_pcap(instructions.pcap)  # now: behind the lock a tunnel may be down that is to be replaced
    lock = InstanceLock(runtime.lock)
    _take_lock(lock, runtime, instructions.replace)
    log = LogFile(runtime.log)
    if report is None:
        log.open()
    else:
        log.take_over()
    if plan.host.kill_switch and (session := ssh_session()) is not None:
        notes.append(
            f"the ssh session from {session.peer} is answered around the tunnel; the kill switch lets no other out"
        )
    for note in notes:
        log.say(note)
    LastDisconnectFile.note(runtime.path, LastDisconnect(plan.file, None, ""))
    profiles = profiles_for_page(instructions.api, plan, instructions.api_secret)
    pcap = open_pcap(instructions.pcap)
    station = Station(runtime, instructions, plan, log, report, AppGroups(), pcap, profiles)

    def gave_up(line: str) -> None:
        LastDisconnectFile.note(runtime.path, LastDisconnect(plan.file, VPNConnectionErrorCode.PLUGIN_FAILED, line))

    try:
        service = HelperService(runtime.state, plan.files | {(path, False) for path in profiles.values()})
        memory = RestartMemory(runtime.restarts)
        gc.freeze()  # the collector writes to what it looks at, and a shared page is copied then
        supervisor = Supervisor(service, runtime.supervision, memory, station.say, station.leave_report, gave_up)
        return supervisor.run(lambda link: _serve(station, link))
    finally:
        station.groups.remove()
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
    try:
        ask(runtime.control, "stop", patience=REPLACE_PATIENCE, keep=True)
    except RemoteError:
        lock.kill_holder()  # nobody serves it, or hangs: what was changed stays, and is taken over
    lock.wait()


def _serve(station: Station, link: SupervisorLink) -> int:
    """Be the process that serves the tunnel; its exit status."""
    report = station.report
    try:
        return _serve_tunnel(station, link)
    except LocalError as error:
        line, status = str(error), error.exit_status
    except RemoteError as error:
        line, status = str(error), 1
    if not link.is_again:  # else the supervisor says it
        if report is not None:
            report.failed(line, status)
        else:
            say(line)
    return status


def _serve_tunnel(station: Station, link: SupervisorLink) -> int:
    """Raises LocalError or RemoteError."""
    plan, instructions, log = station.plan, station.instructions, station.log
    log.catch_up()
    if link.instructions is not None:  # it was reloaded before it had to be started again
        instructions = Instructions.from_data(link.instructions).as_started(station.instructions)
        plan = made_plan(instructions).plan
    ending = LastDisconnectFile(station.runtime.path)
    rights = Rights(station.runtime, plan, log.say, link, station.groups)
    reactor = Reactor.containing(log.say)
    loop = ReactorLoop(reactor)
    try:
        daemon = Daemon(
            reactor,
            station.runtime,
            plan,
            station.instructions,
            log,
            station.report,
            rights,
            station.pcap,
            station.profiles,
        )
        status = loop.run_until_complete(daemon.run())
        ending.write(daemon.end)
        return status
    except OSError as error:
        rights.failure = LocalError(f"the tunnel cannot be made: {error.strerror or error}")
        ending.write(LastDisconnect(plan.file, VPNConnectionErrorCode.CONFIGURATION_FAILED, str(rights.failure)))
        raise rights.failure from error
    except (LocalError, RemoteError) as error:
        rights.failure = error
        ending.write(LastDisconnect(plan.file, code_of(error), str(error)))
        raise
    finally:
        loop.close()
        reactor.close()
        rights.leave()
        ending.close()
