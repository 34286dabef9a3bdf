"""`tunflow top`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help

HELP = Help(
    "show a tunnel in a terminal: flows, servers, log",
    "Show what a tunnel does, once a second: flows by rate, bytes, program, server or target (keys r, b, p, s, n), "
    "groups and their servers (Enter chooses, t tests), the log; Enter on a flow says why it goes there, k ends it. "
    "Of the tunnel that is up, or of the API that run, attach and listen serve with --api. Needs tunflow[ui].",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    parser.add_argument(
        "--api",
        metavar="URL",
        help="http://ADDRESS:PORT of an API, in place of the tunnel that is up; the environment variable "
        "TUNFLOW_API_SECRET is what it asks for",
    )
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=float,
        default=1.0,
        help="look so often (default 1): more over a slow line",
    )
    parser.add_argument("--json", action="store_true", help="print what there is now as JSON, and leave")


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.top import top  # noqa: PLC0415

    return top(options)
