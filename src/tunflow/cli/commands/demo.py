"""`tunflow demo`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help

HELP = Help(
    "show all of it on this machine, with nothing else needed",
    "Start an embedded Shadowsocks server and a small site, run a real client through the tunnel, and tell what "
    "happened and how fast.",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.demo import demo  # noqa: PLC0415

    return demo(as_json=options.json)
