"""What commands share that carry flows in their own process: the servers and profile that were given, as a plan."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tunflow.cli.stderr import say
from tunflow.errors import LocalError
from tunflow.protocols.contract import PacketTunnel, Settings
from tunflow.protocols.registry import parse_server
from tunflow.tunnel.plan import Plan, plan_of_servers

if TYPE_CHECKING:
    from tunflow.profiles.profile import Profile

SERVER_VARIABLE = "TUNFLOW_SERVER"


def servers_given(options: argparse.Namespace) -> list[Settings]:
    """The servers of `--server`, or of TUNFLOW_SERVER. Raises LocalError."""
    return [parse_server(link) for link in options.server or os.environ.get(SERVER_VARIABLE, "").split()]


def plan_given(options: argparse.Namespace) -> Plan:
    """The plan of `--profile`, or of the servers given, with names as `--dns` says if it does. Raises LocalError."""
    if options.profile is not None:
        if options.server:
            raise LocalError("--profile names the servers; --server cannot be given too")
        from tunflow.profiles.store import load_profile  # noqa: PLC0415 (profiles need much that others do not)

        return _compiled(load_profile(options.profile, say), options.dns)
    servers = servers_given(options)
    if not servers:
        raise LocalError(f"no server given: use --server URL or the environment variable {SERVER_VARIABLE}")
    if isinstance(servers[0], PacketTunnel) and len(servers) == 1:
        return _compiled(_packet_tunnel(servers), options.dns)
    plan = plan_of_servers(servers)
    if options.dns is None:
        return plan
    from tunflow.tunnel.dns_modes import names_of_mode  # noqa: PLC0415 - which brings much

    return replace(plan, names=names_of_mode(options.dns, plan.inside.__contains__))


def _compiled(profile: Profile, mode: str | None) -> Plan:
    from tunflow.tunnel.compile import compile_profile, with_dns_mode  # noqa: PLC0415
    from tunflow.tunnel.rule_lists import RuleLists  # noqa: PLC0415

    profile = profile if mode is None else with_dns_mode(profile, mode)
    return compile_profile(profile, RuleLists(profile, say))


def _packet_tunnel(servers: Sequence[Settings]) -> Profile:
    """The profile of a server that carries packets. Raises LocalError."""
    from tunflow.profiles.profile import Profile  # noqa: PLC0415
    from tunflow.profiles.server_keys import server_keys  # noqa: PLC0415
    from tunflow.profiles.server_link import ServerLink  # noqa: PLC0415

    return Profile(name="server", **server_keys([ServerLink(server.to_link(), server) for server in servers]))
