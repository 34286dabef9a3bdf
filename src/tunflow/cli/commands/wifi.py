"""`tunflow wifi`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help

HELP = Help(
    "list Wi-Fi networks, join and forget them, and watch",
    "Ask who manages this machine's Wi-Fi (NetworkManager, wpa_supplicant, or the kernel alone).",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(parser))

    def action(name: str, text: str) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        made.add_argument("--interface", metavar="NAME", help="default: the first with a radio")
        made.add_argument("--json", action="store_true", help="print JSON")
        return made

    list_ = action("list", "list the networks in the air, the strongest first")
    list_.add_argument("--all", action="store_true", help="every access point, and not one a network")
    action("status", "say which network this machine is on; exit status 3 for none")
    watch = action("watch", "print the network each time that it changes")
    watch.add_argument("--every", type=float, default=2.0, metavar="SECONDS", help="how often to look; default: 2")
    watch.add_argument("--count", type=int, metavar="N", help="end after so many lines")
    join = action("join", "join a network; the passphrase is read from the terminal or from stdin")
    join.add_argument("ssid", metavar="SSID", help="its name")
    join.add_argument("--open", action="store_true", help="it has no passphrase")
    forget = action("forget", "leave a network, and do not join it again")
    forget.add_argument("ssid", metavar="SSID", help="its name")


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.wifi import wifi  # noqa: PLC0415

    return wifi(options)
