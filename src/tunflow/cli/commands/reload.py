"""`tunflow reload`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help
from tunflow.cli.options import add_profile_options

HELP = Help(
    "give the tunnel that is up another profile",
    "Servers, rules and DNS change in place; flows that are open go on. A profile that is wrong changes nothing. "
    "Without PROFILE the one it was started with is read again.",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    add_profile_options(parser)
    parser.set_defaults(replace=False, on_demand=None)


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.up import reload  # noqa: PLC0415

    return reload(options)
