"""A profile's rules for `tunflow run --profile`."""

from __future__ import annotations

import random
from typing import NamedTuple

from tunflow.cli.saying import say
from tunflow.dataplane.driver import Driver
from tunflow.dataplane.rule_policy import RulePolicy
from tunflow.dns.config import DNSConfig
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
    policy: RulePolicy
    dialer: Outbound
    """What carries that which is no flow of a program: names and pings."""
    dns: DNSConfig | None
    """How names are answered, where the profile says more than a mode."""
    filtering: Filtering | None
    """The content filter, where there is one."""

    def serve(self, driver: Driver, socket_diag_fd: int) -> None:
        """Decide the driver's flows; the descriptor asks about sockets in the program's network. Raises LocalError."""
        self.policy.serve(driver)
        driver.find_process = ProcessTable(
            SocketDiag.from_fd(socket_diag_fd), open_owners() if asks_for_processes(self.profile) else None
        ).find
        if self.filtering is not None:
            self.filtering.serve(driver)

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
    return Routed(profile, RulePolicy(routing), default_dialer(routing), dns_config(profile), filtering)
