"""`tunflow explain`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help

HELP = Help(
    "tell which rule, group and server a flow would get, and why",
    "Tell which rule, group and server a flow to DESTINATION would get by a profile, or what is up, and why.",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    parser.add_argument("destination", metavar="DESTINATION", help="a name or address, with :PORT or not, or a URL")
    parser.add_argument(
        "--profile", metavar="PROFILE", help="a saved profile's name, or a file; by default the tunnel that is up"
    )
    parser.add_argument("--process", metavar="EXE", help="the program that asks: a path, or a name")
    parser.add_argument("--uid", metavar="N", type=int, help="whose program it is")
    parser.add_argument("--network", choices=("tcp", "udp"), default="tcp", help="default tcp")
    parser.add_argument("--source", metavar="ADDRESS", default="198.18.0.1", help="where the flow comes from")
    parser.add_argument("--no-lookup", action="store_true", help="ask resolvers only where the flow itself would")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.explain import explain  # noqa: PLC0415

    return explain(options)
