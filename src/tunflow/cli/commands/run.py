"""`tunflow run`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help
from tunflow.cli.options import DNS_HELP, add_flow_options, add_profile_option

PROVIDER_HELP = (
    "a provider of your own that takes the program's flows or packets: module:Class, file.py:Class, or the name of an "
    "installed one (docs/extension-points.md); what it leaves goes through --server, or straight out"
)

HELP = Help(
    "run a program with all its traffic through the servers",
    "Run CMD with all its traffic (TCP, UDP, DNS, ICMP, IPv4 and IPv6) through the servers and nothing around them. "
    "Needs no root. Exit status, signals, terminal, stdin and stdout are CMD's.",
    "tunflow run [--server URL]... [--profile PROFILE] [--provider CLASS [--config KEY=VALUE]...] [--dns MODE] "
    "[--pcap FILE] [--memory-limit SIZE] [--stats] [--api ADDRESS:PORT] [-v] -- CMD [ARGS...]",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    add_flow_options(parser)
    add_profile_option(parser)
    parser.add_argument("--dns", metavar="MODE", help=DNS_HELP)
    parser.add_argument("--provider", metavar="CLASS", help=PROVIDER_HELP)
    parser.add_argument(
        "--config", metavar="KEY=VALUE", action="append", default=[], help="a setting for the provider; may be repeated"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD", help="the program and its arguments")


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    if options.provider is not None:
        from tunflow.cli.run_provider import run_provider  # noqa: PLC0415

        run_provider(options)
    from tunflow.cli.run import run as run_program  # noqa: PLC0415

    run_program(options)
