"""`tunflow groups`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help

HELP = Help(
    "show which servers the tunnel's groups use, or choose one",
    "Show the groups of the tunnel that is up: which server each uses, and how the others do. With GROUP and SERVER: "
    "use that one from now on, in a group of the type select.",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    parser.add_argument("group", metavar="GROUP", nargs="?")
    parser.add_argument("member", metavar="SERVER", nargs="?")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.groups import groups  # noqa: PLC0415

    return groups(options)
