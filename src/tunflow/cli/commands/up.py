"""`tunflow up`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help
from tunflow.cli.options import add_api_option, add_device_options, add_profile_options

HELP = Help(
    "carry this machine's whole traffic through the servers",
    "Make a device, routes, rules and DNS so that everything on this machine goes through the servers, and serve it in "
    "a process of its own. Returns once it is connected. Needs root (CAP_NET_ADMIN).",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    add_profile_options(parser)
    parser.add_argument("--foreground", action="store_true", help="stay, and serve the tunnel in this process")
    parser.add_argument(
        "--on-demand",
        action=argparse.BooleanOptionalAction,
        help="come and go by the profile's on-demand rules as the network changes, whatever its key enabled says",
    )
    parser.add_argument("--replace", action="store_true", help="take down the tunnel that is up first")
    add_device_options(parser)
    add_api_option(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="log every flow")
    parser.add_argument("--stats", action="store_true", help="write a summary to the log at the end")
    parser.add_argument("--spawned", action="store_true", help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.up import up  # noqa: PLC0415

    return up(options)
