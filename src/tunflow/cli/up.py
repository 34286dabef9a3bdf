"""`tunflow up`, `down`, `status`, `reload` and `logs`: what a user asks of the process that serves the tunnel."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

from tunflow.cli.instructions import SERVER_VARIABLE, Instructions
from tunflow.cli.status_line import formatted, met_troubles, waybar
from tunflow.cli.stderr import say
from tunflow.control.client import PATIENCE, NotRunning, Refused, Unanswered, WentAway, ask, watch
from tunflow.control.messages import ControlEvent
from tunflow.errors import LocalError, RemoteError
from tunflow.host.runtime import InstanceLock, RuntimeDirectory, wait_ended
from tunflow.single_values import json_value

NOT_RUNNING = 3
"""Exit status of `status` when no tunnel is up, as service managers have it (LSB, init script actions)."""

DOWN_PATIENCE = 6.0
"""Seconds for a tunnel to take itself down; then its process is killed, and what it changed is taken back here."""

SUPERVISED = 9.0
"""Seconds more for a supervisor, which gives the tunnel's process time to end before it puts the host back."""

SETTLED = 1.0
"""Seconds in which a supervisor says that another process is to come."""

TRIES, PAUSE = 5, 0.2
"""How often `status` asks again, and seconds between: a process that ends while it is asked is started again."""

SETTLING = 1
"""Exit status of `status` while a tunnel is on its way up or down, finding its way again, or does not work."""


def up(options: argparse.Namespace) -> int:
    """Bring a tunnel up; return once it is, or serve it here with `--foreground`. Raises LocalError or RemoteError."""
    if options.spawned:
        from tunflow.cli.supervised import serve_spawned  # noqa: PLC0415

        return serve_spawned()
    instructions = Instructions.given(options)
    if options.foreground:
        from tunflow.cli.supervised import serve_foreground  # noqa: PLC0415

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
    for note in report.get("notes", ()):
        say(note)
    if as_json:
        _print_json(facts)
    else:
        servers = facts["servers"] or [facts.get("provider") or "its provider"]
        where = f"{facts['device']} through {' -> '.join(servers)}" if facts["device"] else "on demand"
        say(f"{facts['status']}: {where} (process {facts['pid']})")
    return 0


def down(options: argparse.Namespace) -> int:
    """Take the tunnel down, also one whose process was killed. Raises LocalError or RemoteError."""
    runtime = RuntimeDirectory.running()
    try:
        pid = request(runtime, "stop", patience=DOWN_PATIENCE).get("pid")
        if isinstance(pid, int):
            wait_ended(pid, DOWN_PATIENCE)  # who comes next shall find nothing of it
            if runtime.state.exists():
                _undo(runtime)
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
        facts = _facts(runtime)
    except NotRunning:
        facts = {
            "status": "disconnected", "pid": None, "device": None, "servers": [], "since": None,
            "bytes_in": 0, "bytes_out": 0, "restarts": 0, "last_cause": None, **_supervised(runtime),
            "left_behind": runtime.state.exists(),
        }  # fmt: skip
    if options.waybar or options.format is not None:
        print(waybar(facts) if options.waybar else formatted(options.format, facts))  # noqa: T201 - the output
        return 0
    if options.json:
        _print_json(facts)
    else:
        _print_status(facts)
    if met_troubles(facts):
        return SETTLING
    return {"connected": 0, "disconnected": NOT_RUNNING}.get(facts["status"], SETTLING)


def _facts(runtime: RuntimeDirectory) -> dict[str, Any]:
    """What `status` asks for; of the process that is started again where the one that was asked ended. Raises as
    `request`.
    """
    for _ in range(TRIES):
        with suppress(WentAway):
            return request(runtime, "status")
        time.sleep(PAUSE)
    return request(runtime, "status")


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
    for note in facts["notes"]:
        say(note)
    if options.json:
        _print_json(facts)
    else:
        say(f"reloaded: new flows go through {' -> '.join(facts['servers'])}")
    return 0


def logs(options: argparse.Namespace) -> int:
    """Print what the tunnel said, and with `--follow` what it says. Raises LocalError or RemoteError."""
    runtime = RuntimeDirectory.running()
    events = watch(runtime.control) if options.follow else None
    printed = _print_log(runtime, 0, as_json=options.json)
    while events is not None:
        for event in events:
            if event.name == "log":
                printed = _print_log(runtime, printed, as_json=options.json)
        events = _watch_again(runtime)
        printed = _print_log(runtime, printed, as_json=options.json)  # what was said while nobody could be told
    return 0


def _print_log(runtime: RuntimeDirectory, printed: int, *, as_json: bool) -> int:
    """Print the log from there on, or all of one that was begun anew; how far that is, in bytes. Raises LocalError."""
    try:
        with runtime.log.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(printed if printed <= size else 0)
            shown = file.read()
            position = file.tell()
    except FileNotFoundError:
        raise LocalError(
            f"there is no log: no tunnel has been up since this machine was started ({runtime.log})"
        ) from None
    except OSError as error:
        raise LocalError(f"cannot read {runtime.log}: {error.strerror}") from None
    text = shown.decode(errors="replace")
    if as_json:
        text = "".join(json.dumps(_log_record(line), ensure_ascii=False) + "\n" for line in text.splitlines())
    sys.stdout.write(text)
    sys.stdout.flush()
    return position


def _log_record(line: str) -> dict[str, str]:
    """`2026-11-29 12:00:00 words`, as `LogFile` writes them."""
    return {"time": line[:19], "line": line[20:]}


def _watch_again(runtime: RuntimeDirectory) -> Iterator[ControlEvent] | None:
    """Events of the process that serves the tunnel after the one that was watched; None when there is none."""
    deadline = time.monotonic() + SETTLED
    while time.monotonic() < deadline:
        try:
            return watch(runtime.control)
        except NotRunning:
            if _supervised(runtime).get("status") == "reasserting":
                deadline = time.monotonic() + SETTLED
            time.sleep(0.1)
    return None


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
    """Undo what a tunnel's process left when it was killed. Return True if there was anything. Raises LocalError."""
    from tunflow.host.network.system import undo_recorded  # noqa: PLC0415

    ended = False
    with suppress(FileNotFoundError):
        lock = InstanceLock(runtime.lock)
        try:
            if not lock.take():
                lock.end_holder(DOWN_PATIENCE + SUPERVISED)
                lock.wait()
                ended = True
        finally:
            lock.close()
    had_given_up = runtime.supervision.exists()
    runtime.supervision.unlink(missing_ok=True)
    return undo_recorded(runtime.state) or ended or had_given_up


def _supervised(runtime: RuntimeDirectory) -> dict[str, Any]:
    """What the supervisor says of a tunnel that no process serves now; nothing where there is none."""
    try:
        facts = json_value(runtime.supervision.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(facts, dict):
        return {}
    if facts.get("status") != "disconnected" and not _is_alive(facts.get("helper")):
        facts["status"] = "disconnected"
    return facts


def _is_alive(pid: object) -> bool:
    return isinstance(pid, int) and Path(f"/proc/{pid}").exists()


def _print_json(facts: dict[str, Any]) -> None:
    print(json.dumps(facts, indent=2))  # noqa: T201 - this is the command's output


def _print_status(facts: dict[str, Any]) -> None:
    lines = [facts["status"]]
    for each in facts.get("troubles", ()):
        aside = " (its groups use others meanwhile)" if each.get("avoided") else ""
        lines.append(f"trouble     since {each['since']}: {each['what']}{aside}")
    if facts.get("last_cause"):
        lines.append(f"restarts    {facts['restarts']}, the last because {facts['last_cause']}")
    if facts["status"] == "reasserting" and not facts["pid"]:
        lines.append("no process serves the tunnel now: traffic is held, and one is started again")
    elif facts.get("left_behind"):
        lines.append("a tunnel that was killed left changes behind: tunflow down takes them back")
    if facts["device"]:
        lines.append(f"device      {facts['device']} (process {facts['pid']})")
        lines += [f"servers     {' -> '.join(facts['servers'])}"] if facts["servers"] else []
        lines += [f"path        {facts['path']}"] if facts["path"] else []
        lines += [
            f"since       {facts['since']}",
            f"traffic     {facts['bytes_in']:,} bytes in, {facts['bytes_out']:,} bytes out, {facts['flows']} flows",
            f"kill switch {'on' if facts['kill_switch'] else 'off'}",
        ]
        lines += [f"tunnel      {_tunnel(each)}" for each in facts.get("tunnels", ())]
    if facts.get("internal_errors"):
        lines.append(f"internal errors {facts['internal_errors']}: bugs, each ended one flow; tunflow logs has where")
    print("\n".join(lines))  # noqa: T201 - this is the command's output


def _tunnel(facts: dict[str, Any]) -> str:
    """One of the packet tunnels that rules, groups and chains name."""
    words = f"{facts['label']}: {facts['status']}, {facts['bytes_in']:,} bytes in, {facts['bytes_out']:,} bytes out"
    ages = [peer.get("latest_handshake") for peer in facts.get("tunnel", {}).get("peers", ())]
    known = [age for age in ages if age is not None]
    return f"{words}, last handshake {min(known)} s ago" if known else words
