"""Applies a tunnel's settings to a Mac, and undoes them: `HostNetwork`'s interface. Not run on a Mac yet.

The same rules: recorded before it is done, differences only, a failed `apply` leaves what was before, undoing goes on
past what fails. Here the record is the list of commands that undo.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from tunflow.errors import LocalError
from tunflow.host.files import replace_file
from tunflow.host.macos.commands import Gateways, UndoableCommand, check, plan
from tunflow.host.macos.utun import MTU, UtunDevice
from tunflow.host.network.settings import DEVICE, HostSettings
from tunflow.host.tun import TunDevice
from tunflow.single_values import json_value

STATE_FILE = Path("/var/run/tunflow/host-macos.json")
VERSION = 1
_PROGRAMS = frozenset(("route", "scutil"))
"""What undoing ever runs."""
_SECONDS = 30

Run = Callable[[UndoableCommand], str]
"""Runs a command and gives its output. Raises LocalError."""


def run(command: UndoableCommand) -> str:
    """Run `command` to its end. Raises LocalError with what it said."""
    try:
        done = subprocess.run(
            command.argv, input=command.text, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LocalError(f"{command.argv[0]} cannot be run: {error}") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().partition("\n")[0]
        raise LocalError(f"{' '.join(command.argv)}: {said or f'status {done.returncode}'}")
    return done.stdout


class MacNetwork:
    """The changes that one tunnel makes to this Mac."""

    def __init__(self, state: Path = STATE_FILE, run: Run = run) -> None:
        """`state` is the file to record changes in; `run` runs commands."""
        self._state = state
        self._run = run
        self._done: list[UndoableCommand] = []
        self._settings: HostSettings | None = None
        self.device: TunDevice | None = None

    @property
    def settings(self) -> HostSettings | None:
        """What is in force."""
        return self._settings

    def apply(self, settings: HostSettings) -> None:
        """Make the Mac what `settings` say. Raises LocalError, and then what was before is in force."""
        check(settings)
        fresh = self._settings is None
        if fresh and self._state.exists():
            undo_recorded(self._state, self._run)
        try:
            self._apply(settings)
        except BaseException:
            if self._settings is None:
                self.undo()
            else:
                self._apply(self._settings)
            raise
        self._settings = settings

    def undo(self, *, keep_kill_switch: bool = False) -> None:  # noqa: ARG002 - there is none here
        """Leave the Mac as it was found. Raises LocalError at the end for what could not be undone."""
        self._undo(self._done)
        self._settings = None
        if self.device is not None:
            self.device.close()
            self.device = None
        self._state.unlink(missing_ok=True)

    def _apply(self, settings: HostSettings) -> None:
        if self.device is None:
            self.device = UtunDevice.open("utun" if settings.device == DEVICE else settings.device)
        wanted = plan(settings, self.device.name, settings.mtu or MTU, self._gateways())
        self._undo([command for command in self._done if command not in wanted])
        for command in wanted:
            if command not in self._done:
                self._done.append(command)
                self._save()
                self._run(command)

    def _gateways(self) -> Gateways:
        return Gateways(self._gateway("-inet"), self._gateway("-inet6"))

    def _gateway(self, family: str) -> str | None:
        try:
            text = self._run(UndoableCommand(("route", "-n", "get", family, "default")))
        except LocalError:
            return None  # "not in table": there is no such route
        words = (line.split() for line in text.splitlines())
        return next((line[1] for line in words if line[:1] == ["gateway:"] and len(line) == 2), None)

    def _undo(self, commands: list[UndoableCommand]) -> None:
        failures = []
        for command in reversed(commands):
            try:
                if command.undo is not None:
                    self._run(command.undo)
            except LocalError as error:
                failures.append(str(error))
        self._done = [command for command in self._done if command not in commands]
        if failures:
            raise LocalError("not all could be undone: " + "; ".join(failures))

    def _save(self) -> None:
        undo = [(command.undo.argv, command.undo.text) for command in self._done if command.undo is not None]
        try:
            self._state.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            replace_file(self._state, json.dumps({"tunflow-macos": VERSION, "undo": undo}).encode(), 0o600)
        except OSError as error:
            raise LocalError(f"{self._state} cannot be written: {error.strerror}") from None


def undo_recorded(state: Path = STATE_FILE, run: Run = run) -> bool:
    """Undo what a process that is gone had recorded in `state`. Return True if there was anything. Raises LocalError.

    Routes into the device have gone with it, so what fails here is done already.
    """
    try:
        values = json_value(state.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        raise LocalError(f"{state} cannot be read: expected what tunflow recorded; move it away") from None
    for command in reversed(_parse(values, state)):
        try:
            run(command)
        except LocalError:
            continue
    state.unlink()
    return True


def _parse(values: object, state: Path) -> list[UndoableCommand]:
    if (
        not isinstance(values, dict)
        or values.get("tunflow-macos") != VERSION
        or not isinstance(values.get("undo"), list)
    ):
        raise LocalError(f"{state} is no record of version {VERSION} of tunflow's; move it away")
    commands = []
    for entry in values["undo"]:
        match entry:
            case [[str(program), *arguments], str(text)] if program in _PROGRAMS:
                commands.append(UndoableCommand((program, *map(str, arguments)), text))
            case _:
                raise LocalError(f"{state} is damaged: expected what tunflow recorded; move it away")
    return commands
