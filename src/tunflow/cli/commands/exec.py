"""`tunflow exec`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help

HELP = Help(
    "run a program in the tunnel that is up, or around it",
    "Run CMD, and all that it starts, so that it uses the tunnel where only some programs do (up --per-app), or goes "
    "around it (--bypass). Becomes CMD. Needs root.",
    "tunflow exec [--bypass] -- CMD [ARGS...]",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    parser.add_argument("--bypass", action="store_true", help="go around the tunnel")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD", help="the program and its arguments")


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.exec import run_in_group  # noqa: PLC0415

    run_in_group(options)
