"""`tunflow down`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help

HELP = Help(
    "take the tunnel down and put everything back",
    "End the tunnel and put the host back as it was found, also after its process was killed.",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.up import down  # noqa: PLC0415

    return down(options)
