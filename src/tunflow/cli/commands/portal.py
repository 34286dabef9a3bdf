"""`tunflow portal`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help

HELP = Help(
    "open a network's login page, and nothing else",
    "Open the login page of the network that this machine is in, while a tunnel holds everything else back: a browser "
    "with a network, resolver, profile and cookies of its own, which reaches the network's resolver and web ports "
    "alone. Needs root where a tunnel is up; the browser becomes the user who called sudo. Once somebody has logged "
    "in, the tunnel connects and the way is closed. With CMD that program runs in place of a browser; {} in its "
    "arguments stands for the page's address. Exit status: that of the program, 1 where there is no login page.",
    "tunflow portal [--browser PROGRAM] [--url URL] [--json] [-- CMD ARGS...]",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    parser.add_argument("--browser", metavar="PROGRAM", help="the browser to open, in place of the first that is found")
    parser.add_argument("--url", metavar="URL", help="the page to open, in place of the one that was found")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON, and open nothing")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD", help="a program in place of a browser")


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.portal import portal  # noqa: PLC0415

    return portal(options)
