"""The command line: reads arguments, imports the one command that is asked for, and turns errors into one line.

argparse rather than typer: see docs/adr/0003. Exit status 2 is the user's mistake, 1 a failure of the command itself;
`tunflow run` otherwise leaves as the program it ran.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from tunflow.cli.commands import COMMANDS, command
from tunflow.errors import LocalError, RemoteError

DESCRIPTION = "Carry a program's whole traffic through a tunnel of your choice."
PASS_ON = frozenset({"run", "exec"})
"""Commands that run another program, whose own arguments stand behind `--`."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and leaves the exit to `main`."""

    def error(self, message: str) -> NoReturn:
        raise LocalError(f"{message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    before, behind = _split(given)
    try:
        options = _parser(before).parse_args(before)
        if options.name in PASS_ON:
            options.command = [*options.command, *behind]
        elif behind:
            raise LocalError(f"tunflow {options.name} takes nothing behind --")
        return command(options.name).run(options)
    except LocalError as error:
        _say(error)
        return error.exit_status
    except RemoteError as error:
        _say(error)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has left: nothing to say, and nothing to flush at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _say(error: Exception) -> None:
    print(f"tunflow: {error}", file=sys.stderr)  # noqa: T201


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What stands before and behind the first `--`."""
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """A parser that knows the command that `arguments` begin with; all of them where they begin with none."""
    from tunflow import __version__  # noqa: PLC0415

    parser = _Parser(prog="tunflow", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"tunflow {__version__}")
    commands = parser.add_subparsers(dest="name", metavar="COMMAND", required=True, parser_class=_Parser)
    named = tuple(name for name in arguments[:1] if name in COMMANDS)
    for name in named or COMMANDS:
        file = command(name)
        line, description, usage = file.HELP
        file.arguments(commands.add_parser(name, help=line, description=description, usage=usage))
    return parser
