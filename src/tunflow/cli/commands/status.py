"""`tunflow status`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help

HELP = Help(
    "say what the tunnel is doing",
    "Exit status: 0 connected, 1 connecting, reasserting, captive (the network wants a login) or disconnecting, 3 no "
    "tunnel is up; 0 with --waybar or --format, whatever the status: a bar hides what fails.",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print the facts as JSON")
    how.add_argument("--waybar", action="store_true", help="print a line for a status bar, as waybar's modules read it")
    how.add_argument(
        "--format", metavar="TEXT", help="print TEXT with {status}, {device}, {servers}, {path} and others"
    )


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.up import status  # noqa: PLC0415

    return status(options)
