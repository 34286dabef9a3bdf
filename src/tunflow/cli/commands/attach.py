"""`tunflow attach`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help
from tunflow.cli.options import DNS_HELP, add_flow_options, add_profile_option

HELP = Help(
    "serve a TUN device that somebody else made",
    "Run the stack on a TUN device that exists already: its routes and addresses are its maker's, and so is keeping "
    "our own sockets out of it.",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    device = parser.add_mutually_exclusive_group(required=True)
    device.add_argument("--fd", metavar="N", type=int, help="an inherited file descriptor of a TUN device")
    device.add_argument("--device", metavar="NAME", help="the name of a persistent TUN device")
    add_flow_options(parser)
    add_profile_option(parser)
    parser.add_argument("--dns", metavar="MODE", help=f"{DNS_HELP}; without a profile off is the default")


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.attach import attach  # noqa: PLC0415

    return attach(options)
