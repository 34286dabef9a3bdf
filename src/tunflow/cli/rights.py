"""What a system-wide tunnel may do, and when it lets go of that.

Everything that takes root's rights is done or handed to the helper before the first byte from outside is read: control
groups, the table of sockets' owners, the process that changes host settings. Then the tunnel's process becomes an
unprivileged user with CAP_NET_ADMIN, which SO_MARK takes, and only what its plan needs beyond that (docs/adr/0022).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tunflow.endpoint import Endpoint
from tunflow.errors import LocalError
from tunflow.flow import ProcessInfo
from tunflow.host.netlink.socket_diag import SocketDiag
from tunflow.host.network.helper import HelperNetwork
from tunflow.host.network.system import Network, open_network
from tunflow.host.owner.process import ProcessTable
from tunflow.host.owner.socket_owners import open_owners
from tunflow.host.rights import privileges
from tunflow.host.rights.open_file import open_file
from tunflow.host.runtime import RuntimeDirectory
from tunflow.tunnel.app_groups import AppGroups
from tunflow.tunnel.plan import Plan
from tunflow.tunnel.rule_data import DATA_VARIABLE, directories


class Rights:
    """Made while the process has the rights that it was started with; `leave` at the end."""

    def __init__(self, runtime: RuntimeDirectory, plan: Plan, say: Callable[[str], None]) -> None:
        self.owner = os.geteuid()
        self.groups = AppGroups()
        self.keep_settings = False
        """Whether the host's settings stay for another process."""
        self._runtime = runtime
        self._say = say
        self._found_settings = runtime.state.exists()
        self._processes = ProcessTable(SocketDiag(), open_owners()) if plan.asks_for_processes else None
        self._kept = [privileges.CAP_NET_ADMIN]
        if plan.asks_for_processes:
            self._kept += [privileges.CAP_SYS_PTRACE, privileges.CAP_DAC_READ_SEARCH]  # /proc/PID/fd of others
        if plan.goes_direct:
            self._kept += [privileges.CAP_NET_RAW]  # pings, where net.ipv4.ping_group_range is empty
        self._fake_addresses = plan.fake_addresses
        self._why_kept = privileges.why_kept() if self.owner == 0 else "it was not root that started it"
        self._helper: HelperNetwork | None = None
        if self.owner == 0:
            self._helper = HelperNetwork(runtime.state, self._clean_up, plan.files)

    def network(self) -> Network:
        """What changes this host."""
        return self._helper if self._helper is not None else open_network(self._runtime.state)

    def takes_over(self) -> bool:
        """Whether another process had left its settings; asked once."""
        found, self._found_settings = self._found_settings, False
        return found

    def open_file(self, path: Path, append: bool) -> int:
        """See `host.rights.open_file`. Raises OSError, LocalError."""
        return self._helper.open_file(path, append) if self._helper is not None else open_file(path, append)

    def find_process(self, protocol: str, client: Endpoint, target: Endpoint) -> ProcessInfo | None:
        """Whose a flow is."""
        return self._processes.find(protocol, client, target) if self._processes is not None else None

    def check(self, plan: Plan) -> None:
        """Raise LocalError for a plan that takes rights which are gone."""
        if plan.asks_for_processes and self._processes is None:
            raise LocalError("rules about programs take rights that were let go of: use tunflow up --replace")

    def drop(self) -> None:
        """Let go of all rights that are not needed any more. Raises OSError, LocalError."""
        if self._why_kept is None:
            if self._fake_addresses is not None:
                privileges.give_folder(self._fake_addresses)
            os.environ.setdefault(DATA_VARIABLE, str(directories()[0]))  # root's, also once we are somebody else
            privileges.drop(self._kept)
        elif self.owner == 0:
            self._say(f"root's rights are kept: {self._why_kept}")

    def leave(self) -> None:
        """The tunnel is over."""
        if self._helper is not None:
            self._helper.leave(keep=self.keep_settings)
        else:
            self._clean_up()

    def _clean_up(self) -> None:
        self.groups.remove()
