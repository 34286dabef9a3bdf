"""`tunflow filter`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help

_PROFILE = "a saved profile's name, or a file; default: that of the tunnel that is up, or the only one with a filter"

HELP = Help("look into the content filter: what it blocks, and why", "The content filter of a profile: docs/filter.md.")


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(parser))

    test = actions.add_parser(
        "test",
        help="say which list, line and rule decides about a URL or host",
        description="Say whether a URL or host would be blocked, and which list, line and rule decides.",
    )
    test.add_argument("url", metavar="URL", help="a URL, or a host name, with :PORT or not")
    test.add_argument("--list", metavar="FILE", action="append", default=[], help="a list to judge by; several times")
    test.add_argument("--profile", metavar="PROFILE", help=f"{_PROFILE}; not asked for with --list")
    test.add_argument("--process", metavar="EXE", help="the program that asks: a path, or a name")
    test.add_argument("--uid", metavar="N", type=int, help="whose program it is")
    test.add_argument(
        "--client", metavar="ADDRESS", help="the device that asks, on a gateway: its address, or its hardware address"
    )
    test.add_argument(
        "--type",
        metavar="TYPE",
        default="A",
        help="the DNS records asked for, where lists say what a name is answered with",
    )
    test.add_argument("--at", metavar="TIME", help="when, as 2026-03-02T15:30; default: now")
    test.add_argument("--json", action="store_true", help="print JSON")

    for name, text in (
        ("lists", "the lists of a profile: where they are, how many rules each has, what is wrong with them"),
        ("status", "what a profile's filter is set to, and what it did lately by its log"),
        ("update", "fetch a profile's lists that have a url"),
    ):
        action = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        action.add_argument("profile", metavar="PROFILE", nargs="?", help=_PROFILE)
        action.add_argument("--json", action="store_true", help="print JSON")
        if name == "update":
            action.add_argument("--force", action="store_true", help="take a list that has shrunk by more than half")

    log = actions.add_parser(
        "log",
        help="print what the filter did: when, what, for whom and why",
        description="Print what the filter did: when, what, why, and for whom as far as filter.privacy lets it tell.",
    )
    log.add_argument("profile", metavar="PROFILE", nargs="?", help=_PROFILE)
    log.add_argument("--follow", action="store_true", help="go on until interrupted")
    log.add_argument("--blocked", action="store_true", help="only what was blocked")
    log.add_argument(
        "--top", metavar="N", nargs="?", type=int, const=20, help="what was blocked most, and for whom; 20 without N"
    )
    log.add_argument("--json", action="store_true", help="print the log's own lines, which are JSON")


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.filter import filter_command  # noqa: PLC0415

    return filter_command(options)
