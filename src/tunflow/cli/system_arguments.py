"""The arguments of `up`, `down`, `status`, `reload` and `logs`."""

from __future__ import annotations

import argparse
from typing import Any


def add_commands(commands: Any, server_help: str, dns_help: str) -> None:
    """Add `up` and those that speak with it to the sub-parsers `commands`."""
    up = commands.add_parser(
        "up",
        help="carry this machine's whole traffic through the servers",
        description="Make a device, routes, rules and DNS so that everything on this machine goes through the servers, "
        "and serve it in a process of its own. Returns once it is connected. Needs root (CAP_NET_ADMIN).",
    )
    _add_profile_options(up, server_help, dns_help)
    up.add_argument("--foreground", action="store_true", help="stay, and serve the tunnel in this process")
    up.add_argument(
        "--on-demand",
        action=argparse.BooleanOptionalAction,
        help="come and go by the profile's on-demand rules as the network changes, whatever its key enabled says",
    )
    up.add_argument("--replace", action="store_true", help="take down the tunnel that is up first")
    up.add_argument("--spawned", action="store_true", help=argparse.SUPPRESS)

    down = commands.add_parser(
        "down",
        help="take the tunnel down and put everything back",
        description="End the tunnel and put the host back as it was found, also after its process was killed.",
    )
    status = commands.add_parser(
        "status",
        help="say what the tunnel is doing",
        description="Exit status: 0 connected, 1 connecting, reasserting or disconnecting, 3 no tunnel is up.",
    )
    reload = commands.add_parser(
        "reload",
        help="give the tunnel that is up another profile",
        description="Servers, rules and DNS change in place; flows that are open go on. A profile that is wrong "
        "changes nothing. Without PROFILE the one it was started with is read again.",
    )
    _add_profile_options(reload, server_help, dns_help)
    reload.set_defaults(replace=False, on_demand=None)
    for each in (down, status):
        each.add_argument("--json", action="store_true", help="print the facts as JSON")
    service = commands.add_parser(
        "service",
        help="have systemd bring the tunnel up at boot",
        description="Write and enable, or remove, a systemd unit that serves a profile with few rights.",
    )
    actions = service.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(service))
    install = actions.add_parser("install", help="install it", description="Install the service for a profile.")
    install.add_argument("profile", metavar="PROFILE", help="a saved profile's name, or a file")
    install.add_argument(
        "--kill-switch-at-boot",
        action="store_true",
        help="let nothing leave from the start of the system until the tunnel is up",
    )
    install.add_argument("--print", action="store_true", help="print the units and change nothing")
    actions.add_parser("remove", help="remove it", description="Stop the service and remove it.")
    guard = actions.add_parser("guard")
    guard.add_argument("profile", metavar="PROFILE")
    execute = commands.add_parser(
        "exec",
        help="run a program in the tunnel that is up, or around it",
        description="Run CMD, and all that it starts, so that it uses the tunnel where only some programs do "
        "(up --per-app), or goes around it (--bypass). Becomes CMD. Needs root.",
        usage="tunflow exec [--bypass] -- CMD [ARGS...]",
    )
    execute.add_argument("--bypass", action="store_true", help="go around the tunnel")
    execute.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD", help="the program and its arguments")
    logs = commands.add_parser("logs", help="print what the tunnel said", description="Print the tunnel's log.")
    logs.add_argument("--follow", "-f", action="store_true", help="and go on with what it says from now on")


def _add_profile_options(parser: argparse.ArgumentParser, server_help: str, dns_help: str) -> None:
    parser.add_argument("profile", metavar="PROFILE", nargs="?", help="a saved profile's name, or a file (./home.toml)")
    parser.add_argument("--server", metavar="URL", action="append", default=[], help=server_help)
    parser.add_argument("--dns", metavar="MODE", help=dns_help)
    parser.add_argument(
        "--kill-switch",
        action=argparse.BooleanOptionalAction,
        help="let nothing leave around the tunnel, also when its process is killed; tunflow down ends that",
    )
    parser.add_argument(
        "--exclude-lan",
        action=argparse.BooleanOptionalAction,
        help="leave the networks alone that this machine is in",
    )
    parser.add_argument(
        "--per-app",
        action=argparse.BooleanOptionalAction,
        help="let only programs use the tunnel that tunflow exec starts",
    )
    parser.add_argument(
        "--gateway", metavar="IFACE", action="append", help="carry the traffic of the hosts behind this interface too"
    )
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")
    parser.add_argument("-v", "--verbose", action="store_true", help="log every flow")
