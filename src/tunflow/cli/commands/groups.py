"""`tunflow groups`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help

HELP = Help(
    "show which servers the tunnel's groups use, choose one, or test them",
    "Show the groups of the tunnel that is up: which server each uses, and how the others do. With GROUP and SERVER: "
    "use that one from now on, in a group of the type select. `test [GROUP]` asks all servers, or those of a group, "
    "how long they take, 16 at a time.",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    parser.add_argument("group", metavar="GROUP", nargs="?", help="a group; or the word test")
    parser.add_argument("member", metavar="SERVER", nargs="?")
    parser.add_argument("--profile", metavar="PROFILE", help="with test: the servers of this one, without a tunnel")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.groups import groups  # noqa: PLC0415

    return groups(options)
