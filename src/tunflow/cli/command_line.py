"""The command line: reads arguments, imports the one command that is asked for, and turns errors into one line.

argparse rather than typer: see docs/adr/0003. Exit status 2 is the user's mistake, 1 a failure of the command itself;
`tunflow run` otherwise leaves as the program it ran.
"""

from __future__ import annotations

import argparse
import errno
import os
from collections.abc import Sequence
from typing import NoReturn

from tunflow.cli.commands import COMMANDS, command
from tunflow.cli.standard_streams import discard, open_missing, write_out
from tunflow.cli.stderr import ERROR, say
from tunflow.errors import LocalError, RemoteError

DESCRIPTION = "Carry a program's whole traffic through a tunnel of your choice."
PASS_ON = frozenset({"run", "exec", "portal"})
"""Commands that run another program, whose own arguments stand behind `--`."""


_NO_MORE = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOBUFS})
"""What the system says to who may not have another process, descriptor or page."""


_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What the system says where output has no room."""


class _Version(argparse.Action):
    """Prints the version and whether the hot path is compiled (docs/adr/0090), and leaves."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from tunflow import __version__  # noqa: PLC0415
        from tunflow.cli.build_kind import build_kind  # noqa: PLC0415

        print(f"tunflow {__version__} ({build_kind()})")  # noqa: T201
        parser.exit()


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and leaves the exit to `run_command_line`."""

    def error(self, message: str) -> NoReturn:
        raise LocalError(f"{message} (see {self.prog} --help)")

    def format_help(self) -> str:
        """As argparse has it, with the usage in lines that fit the terminal."""
        if self.usage:
            from tunflow.cli.usage import broken  # noqa: PLC0415

            self.usage = broken(self.usage)
        return super().format_help()


def run_command_line(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; the exit status."""
    if "_ARGCOMPLETE" in os.environ:
        from tunflow.cli.completion import complete  # noqa: PLC0415

        complete(_parser([]))
    open_missing()
    try:
        status = _run(list(arguments))
        write_out()
        return status
    except LocalError as error:
        _say(error)
        return error.exit_status
    except RemoteError as error:
        _say(error)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        discard()  # whoever read our output has left: nothing to say
        return 1
    except OSError as error:
        return _failed(error)


def _run(given: list[str]) -> int:
    """Run the command that is given; its exit status. Raises what `run_command_line` knows."""
    before, behind = _split(given)
    if before and before[0] not in COMMANDS and not before[0].startswith("-"):
        from tunflow.cli.usage import meant  # noqa: PLC0415

        near = meant(before[0], COMMANDS)
        raise LocalError(f"there is no command {before[0]!r}{near} There are {', '.join(COMMANDS)}")
    try:
        options = _parser(before).parse_args(before)
    except SystemExit:  # help and version
        write_out()
        raise
    if options.name in PASS_ON:
        options.command = [*options.command, *behind]
    elif behind:
        raise LocalError(f"tunflow {options.name} takes nothing behind --")
    return command(options.name).run(options)


def _failed(error: OSError) -> int:
    """Say what the system refused; the exit status. Raises the error if it is no fault of the machine's."""
    if error.errno in _NO_MORE:
        _say(LocalError(f"this machine gives no more: {error.strerror} (ulimit -a: what a process may have)"))
    elif error.filename is not None:
        # A file or folder of this machine's that is not as it should be, such as a HOME of somebody else's.
        _say(LocalError(f"{os.fsdecode(error.filename)}: {error.strerror}"))
    elif error.errno in _UNWRITABLE:
        discard()
        _say(LocalError(f"what there is to say cannot be written: {error.strerror}"))
    else:
        raise error
    return LocalError.exit_status


def _say(error: Exception) -> None:
    say(str(error), ERROR)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What stands before and behind the first `--`."""
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """A parser that knows the command that `arguments` begin with; all of them where they begin with none."""
    parser = _Parser(prog="tunflow", description=DESCRIPTION)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and leave")
    commands = parser.add_subparsers(dest="name", metavar="COMMAND", required=True, parser_class=_Parser)
    named = tuple(name for name in arguments[:1] if name in COMMANDS)
    for name in named or COMMANDS:
        file = command(name)
        line, description, usage = file.HELP
        file.arguments(commands.add_parser(name, help=line, description=description, usage=usage))
    return parser
