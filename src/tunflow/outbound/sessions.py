"""The connections to servers that flows share: made with the ways out, served on a loop once there is one.

The same server reached by the same hops is one session, also after a reload.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tunflow.endpoint import Endpoint
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import UNMARKED, SocketOptions
from tunflow.outbound.session_outbound import SessionOutbound, SessionPlace
from tunflow.protocols.contract import Carries, Outbound
from tunflow.protocols.session import MachineSession, PluginProgram, SSHLogin

if TYPE_CHECKING:
    from tunflow.outbound.plugin_program import PluginBelow


class KeptSessions:
    """As `contract.Sessions`."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], SessionOutbound] = {}
        self._programs: dict[tuple[str, str], PluginBelow] = {}
        self._place: SessionPlace | None = None
        self.wants_coroutines = False
        """True if an asyncio loop must run on the reactor."""

    def __bool__(self) -> bool:
        """Return True if there are servers of sessions."""
        return bool(self._kept)

    @property
    def is_drained(self) -> bool:
        """True if the servers have all that was sent."""
        return all(outbound.is_drained for outbound in self._kept.values())

    def over_datagrams(self, server: MachineSession, below: Outbound) -> Outbound:
        """As `contract.Sessions.over_datagrams`."""
        from tunflow.outbound.machine_session import MachineRunner  # noqa: PLC0415 (which few need)

        carries = Carries.STREAMS | Carries.NAMES
        if server.datagrams and Carries.DATAGRAMS in below.carries:
            carries |= Carries.DATAGRAMS

        def make() -> SessionOutbound:
            return SessionOutbound(
                server.label,
                below,
                carries,
                lambda place, told: MachineRunner(place, told, server, below),
                server.stream_to,
            )

        return self._keep(server.link, below, make)

    def over_ssh(self, login: SSHLogin, below: Outbound) -> Outbound:
        """As `contract.Sessions.over_ssh`. Raises LocalError."""
        from tunflow.outbound.ssh_keys import credentials_of  # noqa: PLC0415 (asyncssh, which few need)
        from tunflow.outbound.ssh_session import SSHSession  # noqa: PLC0415

        credentials = credentials_of(login)
        self.wants_coroutines = True

        def make() -> SessionOutbound:
            return SessionOutbound(
                login.label,
                below,
                Carries.STREAMS | Carries.NAMES,
                lambda place, told: SSHSession(place, told, login, credentials, below),
            )

        return self._keep(login.link, below, make)

    def over_program(self, program: PluginProgram, server: Endpoint, below: Outbound) -> Outbound:
        """As `contract.Sessions.over_program`. Raises LocalError."""
        from tunflow.outbound.plugin_program import PluginBelow  # noqa: PLC0415 (which few need)

        self.wants_coroutines = True
        key = (repr((program, server)), below.label)
        kept = self._programs.get(key)
        if kept is None:
            kept = self._programs[key] = PluginBelow(program, server, below)
            kept.place = self._place
        return kept

    def start(self, reactor: Reactor, say: Callable[[str], None], sockets: SocketOptions = UNMARKED) -> None:
        """Serve on a loop from now on: the first flow of a server connects to it."""
        if self._place is None:
            self._place = SessionPlace(reactor, sockets, CauseLog(say, lambda: reactor.now))
        for outbound in self._kept.values():
            outbound.place = self._place
        for program in self._programs.values():
            program.place = self._place

    def close(self) -> None:
        """End them all."""
        for outbound in self._kept.values():
            outbound.close()
        for program in self._programs.values():
            program.close()

    def _keep(self, link: str, below: Outbound, make: Callable[[], SessionOutbound]) -> Outbound:
        key = (link, below.label)
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = make()
            kept.place = self._place
        return kept
