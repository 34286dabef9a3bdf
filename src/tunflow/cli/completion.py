"""What shells complete: commands and options by the parser (argcomplete), and the names that a user has given."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import argcomplete
from argcomplete.completers import DirectoriesCompleter, FilesCompleter, SuppressCompleter
from argcomplete.shell_integration import shellcode

from tunflow.control.client import ask
from tunflow.errors import TunflowError
from tunflow.host.runtime import RuntimeDirectory

Completer = Callable[..., Any]


def script(shell: str) -> str:
    """Return the script for `shell`: bash, zsh or fish."""
    return shellcode(["tunflow"], shell=shell)


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell's question, and end the process."""
    for action in _actions(parser):
        action.completer = _completer(action)  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _actions(child)
        elif action.choices is None and action.nargs != 0:
            yield action


def _completer(action: argparse.Action) -> Completer:
    match action.metavar:
        case "PROFILE" | "SOURCE":
            return _profiles
        case "NAME" if action.dest == "profile":
            return _profiles
        case "GROUP":
            return _groups
        case "SERVER":
            return _members
        case "FILE":
            return FilesCompleter()
        case "CMD":
            return _programs
        case _:
            return SuppressCompleter()


def _profiles(prefix: str, **_: object) -> list[str]:
    from tunflow.profiles.store import ProfileStore  # noqa: PLC0415

    if "/" in prefix:
        return list(FilesCompleter()(prefix))
    with suppress(TunflowError):
        return ProfileStore().names()
    return []


def _running_groups() -> list[dict[str, Any]]:
    with suppress(TunflowError):
        return list(ask(RuntimeDirectory.running().control, "groups", patience=1.0)["groups"])
    return []


def _groups(parsed_args: argparse.Namespace, **_: object) -> list[str]:
    if parsed_args.group == "test":
        return []
    return ["test", *(group["name"] for group in _running_groups())]


def _members(parsed_args: argparse.Namespace, **_: object) -> list[str]:
    if parsed_args.group == "test":
        return [group["name"] for group in _running_groups()]
    return [
        member["name"]
        for group in _running_groups()
        if group["name"] == parsed_args.group
        for member in group["members"]
    ]


def _programs(prefix: str, **_: object) -> list[str]:
    """Return the programs on PATH that begin with `prefix`; files and folders where it has a slash."""
    if "/" in prefix:
        return [*FilesCompleter()(prefix), *DirectoriesCompleter()(prefix)]
    found: set[str] = set()
    for folder in os.get_exec_path():
        with suppress(OSError):
            found.update(path.name for path in Path(folder).iterdir() if path.name.startswith(prefix))
    return sorted(found)
