"""Where the program of a SIP003 plugin is."""

from __future__ import annotations

from pathlib import Path
from shutil import which

from tunflow.errors import LocalError
from tunflow.protocols.session import PluginProgram


def find_program(program: PluginProgram) -> str:
    """The path of a plugin's program. Raises LocalError."""
    found = next(filter(None, map(which, program.programs)), None)
    if found is None:
        package = f": apt install {program.package}" if program.package else ""
        raise LocalError(f"the plugin {program.programs[0]!r} is a program that is not here, or not to be run{package}")
    return str(Path(found).absolute())
