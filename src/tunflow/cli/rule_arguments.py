"""The options of `tunflow rules`, `explain` and `groups`, apart from the commands, whose imports are heavy."""

from __future__ import annotations

from typing import Any


def add_commands(commands: Any) -> None:
    """All of them."""
    groups = commands.add_parser(
        "groups",
        help="show which servers the tunnel's groups use, or choose one",
        description="Show the groups of the tunnel that is up: which server each uses, and how the others do. With "
        "GROUP and SERVER: use that one from now on, in a group of the type select.",
    )
    groups.add_argument("group", metavar="GROUP", nargs="?")
    groups.add_argument("member", metavar="SERVER", nargs="?")
    groups.add_argument("--json", action="store_true", help="print JSON")
    rules = commands.add_parser(
        "rules",
        help="fetch the lists that rules are about",
        description="Lists that rules are about: countries' addresses, and rule sets.",
    )
    actions = rules.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(rules))
    update = actions.add_parser(
        "update",
        help="fetch countries' addresses, and a profile's rule sets",
        description="Fetch countries' addresses from the registry that gives them out, and the rule sets of a profile "
        "that have a url. What does not parse, or has shrunk by more than half, is not taken; the last good one stays.",
    )
    update.add_argument("profile", metavar="PROFILE", nargs="?", help="a saved profile's name, or a file")
    update.add_argument(
        "--registry", metavar="NAME", default="apnic", help="apnic (default), ripencc, arin, lacnic, afrinic or all"
    )
    update.add_argument("--url", metavar="URL", help="where the registry's file is fetched from instead")
    update.add_argument("--force", action="store_true", help="take a list that has shrunk by more than half")
    update.add_argument("--json", action="store_true", help="print JSON")

    explain = commands.add_parser(
        "explain",
        help="tell which rule, group and server a flow would get, and why",
        description="Tell which rule, group and server a flow to DESTINATION would get by a profile, and why.",
    )
    explain.add_argument("destination", metavar="DESTINATION", help="a name or address, with :PORT or not, or a URL")
    explain.add_argument("--profile", metavar="PROFILE", required=True, help="a saved profile's name, or a file")
    explain.add_argument("--process", metavar="EXE", help="the program that asks: a path, or a name")
    explain.add_argument("--uid", metavar="N", type=int, help="whose program it is")
    explain.add_argument("--network", choices=("tcp", "udp"), default="tcp", help="default tcp")
    explain.add_argument("--source", metavar="ADDRESS", default="198.18.0.1", help="where the flow comes from")
    explain.add_argument("--no-lookup", action="store_true", help="ask resolvers only where the flow itself would")
    explain.add_argument("--json", action="store_true", help="print JSON")
