"""`tunflow genpsk`."""

from __future__ import annotations

import argparse
import os

from tunflow.cli.commands import Help

HELP = Help("print a new WireGuard pre-shared key", "Print a new WireGuard pre-shared key, as `wg genpsk` does.")


def arguments(_parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""


def run(_options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.protocols.wireguard.keys import format_key  # noqa: PLC0415
    from tunflow.protocols.wireguard.noise import KEY_SIZE  # noqa: PLC0415

    print(format_key(os.urandom(KEY_SIZE)))  # noqa: T201
    return 0
