"""`tunflow doctor`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help

HELP = Help(
    "look what works on this machine, what is missing, and what would leak",
    "Look at this machine as tunflow needs it, send nothing, and say what works, what is missing with the remedy, and "
    "what would leave around a tunnel. Exit status: 0, or 1 when something that is bad was found.",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.doctor import doctor  # noqa: PLC0415

    return doctor(as_json=options.json)
