"""A profile's rules for `tunflow run --profile`."""

from __future__ import annotations

import random
from typing import NamedTuple

from tunflow.cli.saying import say
from tunflow.dataplane.rule_policy import Routing
from tunflow.dns.config import DNSConfig
from tunflow.flow import ProcessFinder
from tunflow.host.netlink.socket_diag import SocketDiag
from tunflow.host.owner.process import ProcessTable
from tunflow.host.owner.socket_owners import open_owners
from tunflow.profiles.profile import Profile
from tunflow.profiles.store import load_profile
from tunflow.protocols.contract import Outbound
from tunflow.rules.groups import Health
from tunflow.tunnel.app_rules import asks_for_processes
from tunflow.tunnel.dns_plan import dns_config
from tunflow.tunnel.filtering import Filtering
from tunflow.tunnel.routing import default_dialer, make_routing


class Routed(NamedTuple):
    """A profile that decides flows."""

    profile: Profile
    routing: Routing
    dialer: Outbound
    """The dialer for names and pings, which are no flows of a program."""
    dns: DNSConfig | None
    """How names are answered, where the profile says more than a mode."""
    filtering: Filtering | None
    """The content filter, where there is one."""

    def process_finder(self, socket_diag_fd: int) -> ProcessFinder:
        """What finds the programs of flows; the descriptor asks about sockets in the program's network."""
        owners = open_owners() if asks_for_processes(self.profile) else None
        return ProcessTable(SocketDiag.from_fd(socket_diag_fd), owners).find

    def close(self) -> None:
        """The program has ended."""
        if self.filtering is not None:
            self.filtering.close()


def routed(name_or_path: str) -> Routed:
    """The profile that a user means. Raises LocalError."""
    return route(load_profile(name_or_path, say))


def route(profile: Profile) -> Routed:
    """The profile's servers, rules and resolvers. Raises LocalError."""
    routing = make_routing(profile, Health(random.random), tell=say)
    filtering = Filtering(profile, say) if profile.filter is not None and profile.filter.enabled else None
    return Routed(profile, routing, default_dialer(routing), dns_config(profile), filtering)
