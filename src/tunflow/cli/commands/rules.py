"""`tunflow rules`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help

HELP = Help("fetch the lists that rules are about", "Lists that rules are about: countries' addresses, and rule sets.")


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(parser))
    update = actions.add_parser(
        "update",
        help="fetch countries' addresses, and a profile's rule sets",
        description="Fetch countries' addresses from the registry that gives them out, the rule sets of a profile that "
        "have a url, and the lists of resolvers and strict search modes that its filter uses. What does not parse, or "
        "has shrunk by more than half, is not taken; the last good one stays.",
    )
    update.add_argument("profile", metavar="PROFILE", nargs="?", help="a saved profile's name, or a file")
    update.add_argument(
        "--registry",
        metavar="NAME",
        help="apnic, ripencc, arin, lacnic, afrinic or all; by default what the profile's rules need, else apnic",
    )
    update.add_argument("--url", metavar="URL", help="where the registry's file is fetched from instead")
    update.add_argument("--force", action="store_true", help="take a list that has shrunk by more than half")
    update.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.rules import rules  # noqa: PLC0415

    return rules(options)
