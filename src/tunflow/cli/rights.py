"""What a system-wide tunnel may do, and when it lets go of that.

Everything that takes root's rights is done or handed to the helper before the first byte from outside is read: control
groups, the table of sockets' owners, the process that changes host settings. Then the tunnel's process becomes an
unprivileged user with CAP_NET_ADMIN, which SO_MARK takes, and only what its plan needs beyond that (docs/adr/0022).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunflow.endpoint import Endpoint
from tunflow.errors import LocalError, RemoteError, TunflowError
from tunflow.flow import ProcessInfo
from tunflow.host.netlink.socket_diag import SocketDiag
from tunflow.host.network.helper import HelperNetwork
from tunflow.host.owner.process import ProcessTable
from tunflow.host.owner.socket_owners import open_owners
from tunflow.host.rights import privileges
from tunflow.host.runtime import RuntimeDirectory
from tunflow.host.supervised_process import SupervisorLink
from tunflow.tunnel.app_groups import AppGroups
from tunflow.tunnel.plan import Plan
from tunflow.tunnel.rule_data import DATA_VARIABLE, directories


class Rights:
    """Made while the process has the rights that it was started with; `leave` at the end."""

    def __init__(
        self, runtime: RuntimeDirectory, plan: Plan, say: Callable[[str], None], link: SupervisorLink, groups: AppGroups
    ) -> None:
        self.owner = os.geteuid()
        self.groups = groups
        self.link = link
        self.keep_settings = False
        """True if the host's settings stay for another process."""
        self.stopped = False
        """True if somebody wanted the tunnel down."""
        self.lost: str | None = None
        """What was done to the tunnel that is no fault of its own, if it shall be made anew."""
        self.is_unreached = False
        """True if the tunnel that is lost never was connected."""
        self.was_up = False
        self.is_decided = False
        """True if it is known how the tunnel ended and what becomes of the host: nothing unforeseen ended it."""
        self.failure: TunflowError | None = None
        """Why it is not up."""
        self._say = say
        self._found_settings = runtime.state.exists()
        self._processes = ProcessTable(SocketDiag(), open_owners()) if plan.asks_for_processes else None
        self._kept = [privileges.CAP_NET_ADMIN]
        if plan.asks_for_processes:
            self._kept += [privileges.CAP_SYS_PTRACE, privileges.CAP_DAC_READ_SEARCH]  # /proc/PID/fd of others
        if plan.goes_direct:
            self._kept += [privileges.CAP_NET_RAW]  # pings, where net.ipv4.ping_group_range is empty
        memory = plan.group_memory
        kept = (plan.fake_addresses, memory.parent if memory is not None else None, *plan.fetched_lists)
        self._kept_folders = [folder for folder in kept if folder is not None]
        self._why_kept = privileges.why_kept() if self.owner == 0 else "it was not root that started it"
        self._helper = HelperNetwork(link.helper)

    def network(self) -> HelperNetwork:
        """What changes this host."""
        return self._helper

    def takes_over(self) -> bool:
        """Return True if another process had left its settings; asked once."""
        found, self._found_settings = self._found_settings, False
        return found

    def open_file(self, path: Path, append: bool) -> int:
        """See `host.rights.open_file`. Raises OSError, LocalError."""
        return self._helper.open_file(path, append)

    def find_process(self, protocol: str, client: Endpoint, target: Endpoint) -> ProcessInfo | None:
        """Whose a flow is."""
        return self._processes.find(protocol, client, target) if self._processes is not None else None

    def check(self, plan: Plan) -> None:
        """Raise LocalError for a plan that takes rights which are gone."""
        if plan.asks_for_processes and self._processes is None:
            raise LocalError("rules about programs take rights that were let go of: use tunflow up --replace")

    def drop(self) -> None:
        """Let go of all rights that are not needed any more. Raises OSError, LocalError.

        From here on this process lives no longer than the supervisor: what that keeps of the host goes with it.
        """
        if self._why_kept is None:
            for folder in self._kept_folders:
                privileges.give_folder(folder)
            os.environ.setdefault(DATA_VARIABLE, str(directories()[0]))  # root's, also once we are somebody else
            privileges.drop(self._kept)
        elif self.owner == 0:
            self._say(f"root's rights are kept: {self._why_kept}")
        privileges.end_with(self.link.supervisor)

    def is_up(self) -> None:
        """The tunnel is up: from here on it is started again when this process dies."""
        self.was_up = True
        self._helper.tell({"ready": True})

    def remember(self, instructions: dict[str, Any]) -> None:
        """Have the next process serve these, as this one does since a reload."""
        self._helper.tell({"remember": instructions})

    def leave(self) -> None:
        """The tunnel is over. One that was up and that something unforeseen ended is not: another process goes on."""
        if self.lost is None and self.was_up and not self.is_decided:
            self.lost = "something unforeseen ended it" if self.failure is None else str(self.failure)
        if self.lost is not None:
            self._helper.lose(self.lost, unreached=self.is_unreached)
            return
        why, unreached = self.failure, isinstance(self.failure, RemoteError)
        line = None if why is None else str(why)
        self._helper.leave(keep=self.keep_settings, stopped=self.stopped, failure=line, unreached=unreached)
