"""`tunflow status`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help

HELP = Help(
    "say what the tunnel is doing",
    "Exit status: 0 connected, 1 connecting, reasserting or disconnecting, 3 no tunnel is up.",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.up import status  # noqa: PLC0415

    return status(options)
