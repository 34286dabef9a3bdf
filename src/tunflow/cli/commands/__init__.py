"""The commands: one file each, with what `--help` says of it (`HELP`), its arguments, and `run`.

A command's file is small and imports next to nothing; what the command needs is imported inside `run`, so that nobody
waits for the imports of the others.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from importlib import import_module
from typing import NamedTuple, Protocol, cast

COMMANDS = (
    "run", "attach", "serve", "listen", "up", "down", "status", "reload", "service", "exec", "portal", "logs", "demo",
    "profile", "groups", "rules", "explain", "filter", "genkey", "genpsk", "pubkey", "web", "wifi", "top",
    "doctor", "completion",
)  # fmt: skip
"""In the order of `tunflow --help`."""


class Help(NamedTuple):
    """What a command says of itself."""

    line: str
    """In the list of commands: lower case, no full stop."""
    description: str
    """At the head of its own help."""
    usage: str | None = None
    """In place of what argparse would write."""


class Command(Protocol):
    """A command's file."""

    HELP: Help

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the command's arguments."""

    def run(self, options: Namespace) -> int:
        """Do it; the exit status. Raises LocalError, RemoteError."""


def command(name: str) -> Command:
    """The file of a command of `COMMANDS`."""
    return cast("Command", import_module(f"tunflow.cli.commands.{name}"))
