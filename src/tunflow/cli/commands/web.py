"""`tunflow web`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help

HELP = Help(
    "open the page of the tunnel that is up in a browser",
    "Open the page that shows flows, servers, rules and the log of the tunnel that is up, which needs --api or [api] "
    "in its profile (docs/dashboards.md).",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    parser.add_argument("--print", action="store_true", help="print its address only")
    parser.add_argument("--json", action="store_true", help="print its address as JSON, and open nothing")


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.web import web  # noqa: PLC0415

    return web(only_print=options.print, as_json=options.json)
