"""Finds the program that a command names, the way execvp(3) and a shell do, and says so when there is none.

The exit statuses are the shell's (POSIX XCU 2.8.2): 127 where nothing is found, 126 where it cannot be executed.
"""

from __future__ import annotations

import errno
import os
import stat

from tunflow.errors import LocalError


class CommandNotFound(LocalError):
    """No such program."""

    exit_status = 127


class CommandNotExecutable(LocalError):
    """The program is there and cannot be executed."""

    exit_status = 126


def find(name: str) -> str:
    """The path of the program `name`: itself where it has a slash, else the first match in PATH.

    Raises CommandNotFound or CommandNotExecutable.
    """
    is_path = "/" in name
    if is_path:
        candidates = [name]
    else:
        folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
        candidates = [os.path.join(folder, name) for folder in folders]  # noqa: PTH118 - an empty entry is the cwd
    refused = ""
    for path in candidates if name else ():
        try:
            is_file = stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - Path would drop a leading "./"
        except PermissionError:
            is_file = False
        except (OSError, ValueError):
            continue
        if is_file and os.access(path, os.X_OK):
            return path
        if is_file or is_path:  # what only stands in the way in PATH (a folder, a closed one) was not meant
            refused = refused or path
    if refused:
        raise CommandNotExecutable(f"{refused}: {_why_refused(refused)}")
    raise CommandNotFound(f"{name or 'an empty name'}: command not found")


def execute(path: str, argv: list[str]) -> None:
    """Become the program at `path`. Returns never; raises OSError.

    A script without a "#!" line is given to /bin/sh, as execvp(3) does.
    """
    try:
        os.execv(path, argv)  # noqa: S606 - the user's own command, without a shell
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    os.execv("/bin/sh", ["sh", path, *argv[1:]])  # noqa: S606


def _why_refused(path: str) -> str:
    return "is a directory" if os.path.isdir(path) else "permission denied"  # noqa: PTH112
