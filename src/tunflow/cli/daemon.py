"""The process that serves a system-wide tunnel: engine, control socket, signals, log, in one thread and one loop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import BinaryIO

from tunflow.addresses import ip_address
from tunflow.cli.api import api_for
from tunflow.cli.instructions import Instructions
from tunflow.cli.requests import Ending, Requests
from tunflow.cli.rights import Rights
from tunflow.cli.serving_context import prepare_process
from tunflow.cli.stderr import say
from tunflow.control.messages import ControlEvent
from tunflow.control.server import ControlServer
from tunflow.errors import LocalError, RemoteError
from tunflow.host.daemon import DaemonReport
from tunflow.host.log_file import LogFile
from tunflow.host.netlink.neighbours import Neighbours
from tunflow.host.resolvers.outer_resolvers import OuterResolvers
from tunflow.host.runtime import RuntimeDirectory
from tunflow.loop.reactor import Reactor
from tunflow.providers.status import ConnectionStatus
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.tunnel.assemble import ServingContext
from tunflow.tunnel.backend import Backend
from tunflow.tunnel.closed_names import closed_names
from tunflow.tunnel.engine import Engine
from tunflow.tunnel.last_disconnect import LastDisconnect
from tunflow.tunnel.plan import Plan
from tunflow.tunnel.process_filter import ProcessFilter
from tunflow.tunnel.tunnel import Tunnel
from tunflow.tunnel.tunnel_interface import TunnelContext, TunnelInterface
from tunflow.tunnel.vpn_error import VPNConnectionErrorCode


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
        pcap: BinaryIO | None,
        profiles: Mapping[str, Path],
    ) -> None:
        """`plan` is what it has now, `instructions` those of the start; the page may have it use these `profiles`."""
        self._profiles = profiles
        self._rights = rights
        self._reactor = reactor
        self._runtime = runtime
        self._plan = plan
        self._filter = ProcessFilter(reactor, self._say, rights.open_file, Neighbours())
        self._api = api_for(instructions.api, plan, reactor, instructions.api_secret)
        self._serving = ServingContext(
            reactor,
            self._say if self._api is None else self._api.log.also(self._say),
            self._filter,
            descriptors=prepare_process(),
            verbose=instructions.verbose,
            memory_limit=inf if instructions.memory_limit is None else instructions.memory_limit,
            pcap=pcap,
            tells_statistics=instructions.stats,
            find_process=rights.find_process,
            watcher=self._api,
            warn=None if self._api is None else self._api.log.also(self._say, "warning"),
            trace=None if self._api is None else self._api.log.also(self._say, "debug"),
        )
        self._instructions = instructions
        self._log = log
        self._report = report
        self._outer = OuterResolvers([str(ip_address(own)) for own in plan.inside])
        self.end = LastDisconnect(plan.file, None, "")
        """How the tunnel ended, once `run` has returned."""

    def _tell(self, event: ControlEvent) -> None:
        """Say it to everybody who watches the control socket."""
        self._control.tell(event)

    async def run(self) -> int:
        """Up, until told to stop or unable to go on; the exit status. Raises LocalError or RemoteError from start."""
        tunnel, ending = self._make_tunnel(), Ending()
        api = None if self._api is None else self._api.where
        requests = Requests(tunnel, self._instructions, self._rights, ending, self._tell, self._say, api)
        if self._api is not None:
            from tunflow.api.switch import TunnelSwitch  # noqa: PLC0415 - for who asks for it

            self._api.use_switch(TunnelSwitch(requests.handle, self._profiles, self._rights.open_file))
        self._control = ControlServer(self._runtime.control, self._rights.owner, requests.handle)
        self._log.listener = lambda line: self._tell(ControlEvent("log", {"line": line}))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ending.ask, ProviderStopReason.USER_INITIATED)
        await self._control.start()
        self._rights.drop()
        self._beat()
        try:
            return await self._run(tunnel, ending)
        finally:
            await self._control.close()
            if self._api is not None:
                self._api.close()
            await self._filter.stop(ProviderStopReason.USER_INITIATED)

    async def _run(self, tunnel: Tunnel, ending: Ending) -> int:
        starting = asyncio.create_task(tunnel.start())
        await asyncio.wait((starting, ending.asked), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            with suppress(asyncio.CancelledError):
                await starting
            ending.down(None)
            self._rights.stopped = True
            raise RemoteError("it was taken down before it was connected")
        starting.result()
        facts = tunnel.status()
        if facts["device"] is not None:
            self._say(f"{facts['device']} carries everything through {', '.join(self._plan.labels)}")
        if self._report is not None:
            line = closed_names(self._rights.network().settings, self._outer.find())
            self._report.ready({**facts, **self._rights.link.facts}, [] if line is None else [line])
        self._rights.is_up()
        await asyncio.wait((ending.asked, tunnel.ended), return_when=asyncio.FIRST_COMPLETED)
        failed = not ending.asked.done()
        if failed:
            self._say(tunnel.ended.result())
            self.end = self.end._replace(code=VPNConnectionErrorCode.PLUGIN_FAILED, line=tunnel.ended.result())
        is_lost = failed and tunnel.is_lost
        # One that ended by itself does not open what its kill switch closed: that is for its user to do.
        stays_closed = bool(failed and tunnel.status()["kill_switch"])
        reason, keep = (ProviderStopReason.PROVIDER_FAILED, stays_closed) if failed else ending.asked.result()
        if is_lost:
            keep, self._rights.lost = True, tunnel.ended.result()
            self._rights.is_unreached = tunnel.status()["since"] is None
        elif stays_closed:
            self._say("the kill switch stays: tunflow up connects again, tunflow down opens the host")
        self._rights.keep_settings, self._rights.stopped, self._rights.is_decided = keep, not failed, True
        try:
            await tunnel.stop(reason, keep=keep)
        except LocalError as error:
            self._say(str(error))
            ending.down(str(error))
            return 1
        ending.down(None)
        return int(failed)

    def _beat(self) -> None:
        """Give signs of life from now on."""
        self._rights.link.beat()
        self._reactor.call_later(self._rights.link.beat_every, self._beat)

    def _say(self, line: str) -> None:
        self._log.say(line)
        if self._report is None:
            say(line)

    def _status_changed(self, status: ConnectionStatus) -> None:
        self._log.say(status.word)
        self._control.tell(ControlEvent("status", {"status": status.word}))

    # What a tunnel is made of. A kind that is not asked for is not imported: `up` would wait for it.

    def _make_tunnel(self) -> Tunnel:
        """The plan's. Raises LocalError."""
        if not self._plan.is_on_demand:
            return self._make_engine(self._plan)
        from tunflow.tunnel.on_demand import DemandedTunnel  # noqa: PLC0415

        return DemandedTunnel(self._plan, self._make_engine, self._rights.network(), self._outer.find, self._say)

    def _make_engine(self, plan: Plan) -> Tunnel:
        context = TunnelContext(self._rights.network(), self._outer.find, self._serving, self._status_changed)
        interface = TunnelInterface(plan, context)
        return Engine(plan, interface, self._make_backend(plan, interface))

    def _make_backend(self, plan: Plan, interface: TunnelInterface) -> Backend:
        if plan.provider is not None and plan.profile is not None:
            from tunflow.tunnel.provider_backend import ProviderBackend  # noqa: PLC0415

            return ProviderBackend(plan, plan.profile, interface, self._instructions.options)
        from tunflow.tunnel.server_backend import ServerBackend  # noqa: PLC0415

        takes_over = self._rights.takes_over() or self._rights.network().settings is not None
        return ServerBackend(plan, interface, self._rights.groups, takes_over=takes_over)
