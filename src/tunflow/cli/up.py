"""`tunflow up`, `down`, `status`, `reload` and `logs`: what a user asks of the process that serves the tunnel."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

from tunflow.cli.instructions import SERVER_VARIABLE, Instructions
from tunflow.cli.saying import say
from tunflow.control.client import PATIENCE, NotRunning, Refused, Unanswered, ask, watch
from tunflow.errors import LocalError, RemoteError
from tunflow.host.runtime import InstanceLock, RuntimeDirectory, wait_ended

NOT_RUNNING = 3
"""Exit status of `status` when no tunnel is up, as service managers have it (LSB, init script actions)."""

DOWN_PATIENCE = 6.0
"""Seconds for a tunnel to take itself down; then its process is killed, and what it changed is taken back here."""

SETTLING = 1
"""Exit status of `status` while a tunnel is on its way up or down, finding its way again, or does not work."""


def up(options: argparse.Namespace) -> int:
    """Bring a tunnel up; return once it is, or serve it here with `--foreground`. Raises LocalError or RemoteError."""
    if options.spawned:
        from tunflow.cli.daemon import serve_spawned  # noqa: PLC0415

        return serve_spawned()
    instructions = Instructions.given(options)
    if options.foreground:
        from tunflow.cli.daemon import serve_foreground  # noqa: PLC0415

        os.environ.pop(SERVER_VARIABLE, None)
        return serve_foreground(instructions)
    return _start(instructions, as_json=options.json)


def _start(instructions: Instructions, *, as_json: bool) -> int:
    from tunflow.host.daemon import spawn  # noqa: PLC0415

    runtime = RuntimeDirectory.own()
    runtime.make()
    report = spawn(["up", "--spawned"], instructions.to_json(), runtime.log, [SERVER_VARIABLE])
    if "error" in report:
        _fail(report["error"], report.get("exit_status", 1))
    facts = report["ready"]
    if as_json:
        _print_json(facts)
    else:
        where = f"{facts['device']} through {' -> '.join(facts['servers'])}" if facts["device"] else "on demand"
        say(f"{facts['status']}: {where} (process {facts['pid']})")
    return 0


def down(options: argparse.Namespace) -> int:
    """Take the tunnel down, also one whose process was killed. Raises LocalError or RemoteError."""
    runtime = RuntimeDirectory.running()
    try:
        pid = request(runtime, "stop", patience=DOWN_PATIENCE).get("pid")
        if isinstance(pid, int):
            wait_ended(pid, DOWN_PATIENCE)  # who comes next shall find nothing of it
        was = "up"
    except (NotRunning, Unanswered):
        was = "left behind" if _undo(runtime) else "down"
    if options.json:
        _print_json({"status": "disconnected", "was": was})
    else:
        say({"up": "disconnected", "left behind": "undone: what a killed tunnel left", "down": "no tunnel is up"}[was])
    return 0


def status(options: argparse.Namespace) -> int:
    """Print what the tunnel is doing; 0 when it is connected and works, 1 when it changes or does not, 3 if none."""
    runtime = RuntimeDirectory.running()
    facts: dict[str, Any]
    try:
        facts = request(runtime, "status")
    except NotRunning:
        facts = {
            "status": "disconnected", "pid": None, "device": None, "servers": [], "since": None,
            "bytes_in": 0, "bytes_out": 0, "left_behind": runtime.state.exists(),
        }  # fmt: skip
    if options.json:
        _print_json(facts)
    else:
        _print_status(facts)
    if facts.get("troubles"):
        return SETTLING
    return {"connected": 0, "disconnected": NOT_RUNNING}.get(facts["status"], SETTLING)


def reload(options: argparse.Namespace) -> int:
    """Change the tunnel that is up, ending no flow. Raises LocalError or RemoteError, and then it goes on unchanged."""
    from tunflow.profiles.store import ProfileStore  # noqa: PLC0415

    runtime = RuntimeDirectory.running()
    before = request(runtime, "status")
    if options.profile is None and not options.server:
        options.profile = before["profile"]
    if options.profile is None and not options.server and not os.environ.get(SERVER_VARIABLE):
        raise LocalError("the tunnel was started without a profile: say which profile or --server it shall have now")
    instructions = Instructions.given(options)
    if instructions.profile is not None:
        is_path = instructions.profile.startswith("/")
        path = Path(instructions.profile) if is_path else ProfileStore().find(instructions.profile)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise LocalError(f"cannot read the profile {path}: {reason}") from None
        instructions = replace(instructions, profile=str(path), text=text)
    facts = request(runtime, "reload", **asdict(instructions))
    if options.json:
        _print_json(facts)
    else:
        say(f"reloaded: new flows go through {' -> '.join(facts['servers'])}")
    return 0


def logs(options: argparse.Namespace) -> int:
    """Print what the tunnel said, and with `--follow` what it says. Raises LocalError or RemoteError."""
    runtime = RuntimeDirectory.running()
    events = watch(runtime.control) if options.follow else None
    try:
        shown = runtime.log.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise LocalError(
            f"there is no log: no tunnel has been up since this machine was started ({runtime.log})"
        ) from None
    except OSError as error:
        raise LocalError(f"cannot read {runtime.log}: {error.strerror}") from None
    sys.stdout.write(shown)
    sys.stdout.flush()
    already = set(shown.splitlines()[-20:])  # what was said between asking and reading comes by both ways
    for event in events or ():
        line = event.facts.get("line", "")
        if event.name == "log" and line not in already:
            print(line, flush=True)  # noqa: T201 - this is the command's output
    return 0


def request(
    runtime: RuntimeDirectory, operation: str, *, patience: float = PATIENCE, **arguments: Any
) -> dict[str, Any]:
    """What the tunnel's process answers. Raises NotRunning, LocalError or RemoteError."""
    try:
        return ask(runtime.control, operation, patience=patience, **arguments)
    except Refused as error:
        _fail(str(error), error.exit_status)


def _fail(line: str, exit_status: int) -> NoReturn:
    """Raise what ends this command with that line and status."""
    if exit_status == LocalError.exit_status:
        raise LocalError(line)
    raise RemoteError(line)


def _undo(runtime: RuntimeDirectory) -> bool:
    """Take back what a tunnel's process left when it was killed; whether there was anything. Raises LocalError."""
    from tunflow.host.network.system import undo_recorded  # noqa: PLC0415

    with suppress(FileNotFoundError):
        lock = InstanceLock(runtime.lock)
        try:
            if not lock.take():
                if lock.is_held_by_a_living_process and lock.holder is not None:
                    # It holds the lock and does not listen: it cannot be asked any more.
                    os.kill(lock.holder, signal.SIGKILL)
                lock.wait()
        finally:
            lock.close()
    return undo_recorded(runtime.state)


def _print_json(facts: dict[str, Any]) -> None:
    print(json.dumps(facts, indent=2))  # noqa: T201 - this is the command's output


def _print_status(facts: dict[str, Any]) -> None:
    lines = [facts["status"]]
    lines += [f"trouble     since {each['since']}: {each['what']}" for each in facts.get("troubles", ())]
    if facts.get("left_behind"):
        lines.append("a tunnel that was killed left changes behind: tunflow down takes them back")
    if facts["device"]:
        lines += [
            f"device      {facts['device']} (process {facts['pid']})",
            f"servers     {' -> '.join(facts['servers'])}",
            f"path        {facts['path']}",
            f"since       {facts['since']}",
            f"traffic     {facts['bytes_in']:,} bytes in, {facts['bytes_out']:,} bytes out, {facts['flows']} flows",
            f"kill switch {'on' if facts['kill_switch'] else 'off'}",
        ]
    print("\n".join(lines))  # noqa: T201 - this is the command's output
