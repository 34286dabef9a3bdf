"""`tunflow reload`."""

from __future__ import annotations

import argparse
from math import inf

from tunflow.cli.commands import Help
from tunflow.cli.options import add_profile_options

HELP = Help(
    "give the tunnel that is up another profile",
    "Servers, rules and DNS change in place; flows that are open go on. A profile that is wrong changes nothing. "
    "Without PROFILE the one that it has is read again. What the command line of `up` said of the host (--kill-switch, "
    "--exclude-lan, --per-app, --gateway) holds unless this one says otherwise, its servers and --dns with the same "
    "profile; what changes of these is told.",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    add_profile_options(parser)
    parser.set_defaults(
        replace=False, on_demand=None, memory_limit=inf, pcap=None, stats=False, api=None, verbose=False
    )


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.up import reload  # noqa: PLC0415

    return reload(options)
