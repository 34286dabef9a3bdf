"""`tunflow genkey`."""

from __future__ import annotations

import argparse
import json
import os

from tunflow.cli.commands import Help

HELP = Help("print a new WireGuard private key", "Print a new WireGuard private key, as `wg genkey` does.")


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.protocols.wireguard.keys import format_key, private_key  # noqa: PLC0415
    from tunflow.protocols.wireguard.noise import KEY_SIZE  # noqa: PLC0415

    key = format_key(private_key(os.urandom(KEY_SIZE)))
    print(json.dumps({"private_key": key}, indent=2) if options.json else key)  # noqa: T201
    return 0
