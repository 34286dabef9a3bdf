"""`tunflow completion`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help

HELP = Help(
    "print what makes a shell complete tunflow's commands",
    "Print the script for SHELL that completes commands, options, saved profiles, groups and their servers. bash and "
    'zsh: eval "$(tunflow completion bash)" in ~/.bashrc or ~/.zshrc; fish: tunflow completion fish > '
    "~/.config/fish/completions/tunflow.fish",
)

SHELLS = ("bash", "zsh", "fish")


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.completion import script  # noqa: PLC0415

    print(script(options.shell), end="")  # noqa: T201 - this is the command's output
    return 0
