"""`tunflow pubkey`."""

from __future__ import annotations

import argparse
import json
import sys

from tunflow.cli.commands import Help

HELP = Help(
    "print the public key of a WireGuard private key",
    "Read a WireGuard private key from stdin and print its public key, as `wg pubkey` does.",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.protocols.wireguard.keys import format_key, parse_key  # noqa: PLC0415
    from tunflow.protocols.wireguard.noise import public_key  # noqa: PLC0415

    key = format_key(public_key(parse_key(sys.stdin.read(1000))))
    print(json.dumps({"public_key": key}, indent=2) if options.json else key)  # noqa: T201
    return 0
