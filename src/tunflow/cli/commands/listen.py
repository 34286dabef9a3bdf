"""`tunflow listen`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help
from tunflow.cli.options import add_api_option, add_server_option

HELP = Help(
    "be a local SOCKS and HTTP proxy in front of the servers",
    "Listen for clients that know proxies only, SOCKS5 (TCP and UDP), SOCKS4, SOCKS4a and HTTP on one port, and carry "
    "what they want through the servers, until interrupted. http://ADDRESS:PORT/proxy.pac is the configuration file "
    "that browsers ask for.",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    parser.add_argument("where", metavar="ADDRESS:PORT", nargs="?", help="default: 127.0.0.1:1080")
    add_server_option(parser)
    add_api_option(parser)
    parser.add_argument(
        "--user",
        metavar="USER:PASSWORD",
        help="what clients must show; or the environment variable TUNFLOW_LISTEN_USER, which no process list shows",
    )
    parser.add_argument(
        "--ask-anyway",
        metavar="NAME",
        action="append",
        default=[],
        help="a name, with all below it, that servers are asked for although it is nobody's outside, such as local or "
        "home.arpa (docs/dns.md); may be given several times",
    )


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.listen import listen  # noqa: PLC0415

    return listen(options)
