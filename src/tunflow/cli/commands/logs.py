"""`tunflow logs`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help

HELP = Help("print what the tunnel said", "Print the tunnel's log.")


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    parser.add_argument("--follow", "-f", action="store_true", help="and go on with what it says from now on")
    parser.add_argument("--json", action="store_true", help="print JSON, an object a line")


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.up import logs  # noqa: PLC0415

    return logs(options)
