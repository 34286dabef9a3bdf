"""`tunflow service`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help

HELP = Help(
    "have systemd bring the tunnel up at boot",
    "Write and enable, or remove, a systemd unit that serves a profile with few rights.",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(parser))
    install = actions.add_parser("install", help="install it", description="Install the service for a profile.")
    install.add_argument("profile", metavar="PROFILE", help="a saved profile's name, or a file")
    install.add_argument(
        "--kill-switch-at-boot",
        action="store_true",
        help="let nothing leave from the start of the system until the tunnel is up",
    )
    install.add_argument("--print", action="store_true", help="print the units and change nothing")
    install.add_argument("--group", metavar="GROUP", help="whose members may start and stop it without root (polkit)")
    install.add_argument("--listen", metavar="ADDRESS:PORT", help="with --user; default: 127.0.0.1:1080")
    remove = actions.add_parser("remove", help="remove it", description="Stop the service and remove it.")
    for each in (install, remove):
        each.add_argument(
            "--user",
            action="store_true",
            help="your own service without root: a proxy port (tunflow listen) from login on",
        )
        each.add_argument("--json", action="store_true", help="print JSON")
    guard = actions.add_parser("guard")
    guard.add_argument("profile", metavar="PROFILE")


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.service import service  # noqa: PLC0415

    return service(options)
