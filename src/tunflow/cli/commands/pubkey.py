"""`tunflow pubkey`."""

from __future__ import annotations

import argparse
import sys

from tunflow.cli.commands import Help

HELP = Help(
    "print the public key of a WireGuard private key",
    "Read a WireGuard private key from stdin and print its public key, as `wg pubkey` does.",
)


def arguments(_parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""


def run(_options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.protocols.wireguard.keys import format_key, parse_key  # noqa: PLC0415
    from tunflow.protocols.wireguard.noise import public_key  # noqa: PLC0415

    print(format_key(public_key(parse_key(sys.stdin.read(1000)))))  # noqa: T201
    return 0
