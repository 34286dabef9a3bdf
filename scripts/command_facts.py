"""What the table of commands says, as values: for the man pages and the manual's reference."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from tunflow.cli.commands import COMMANDS, command


@dataclass(frozen=True)
class Argument:
    """An option or a positional argument."""

    words: str
    """As it is typed: `--dns MODE`."""
    usage: str
    """The same in a line of usage: `[--dns MODE]...`."""
    help: str
    is_option: bool


@dataclass(frozen=True)
class CommandFacts:
    """A command, or an action of one."""

    name: str
    """`filter`, or `filter test`."""
    line: str
    description: str
    usage: str
    arguments: tuple[Argument, ...]
    actions: tuple[CommandFacts, ...]


def all_commands() -> list[CommandFacts]:
    """Every command of the table, in its order."""
    found = []
    for name in COMMANDS:
        file = command(name)
        parser = argparse.ArgumentParser(f"tunflow {name}", usage=file.HELP.usage)
        file.arguments(parser)
        found.append(_facts(name, file.HELP.line, file.HELP.description, parser))
    return found


def _facts(name: str, line: str, description: str, parser: argparse.ArgumentParser) -> CommandFacts:
    arguments: list[Argument] = []
    actions: list[CommandFacts] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            lines = {each.dest: each.help for each in action._choices_actions}
            actions += [
                _facts(f"{name} {word}", lines[word] or "", made.description or "", made)
                for word, made in action.choices.items()
                if word in lines  # what has no help is not for people
            ]
        elif action.help != argparse.SUPPRESS and action.dest != "help":
            arguments.append(_argument(action, parser.prog))
    words = ["tunflow", name, *(each.usage for each in arguments), *(["ACTION"] if actions else [])]
    usage = parser.usage or " ".join(words)
    return CommandFacts(name, line, description, usage, tuple(arguments), tuple(actions))


def _argument(action: argparse.Action, program: str) -> Argument:
    value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
    told = (action.help or "") % {**vars(action), "prog": program}
    many = "..." if action.nargs in {"*", "+", argparse.REMAINDER} or isinstance(action, argparse._AppendAction) else ""
    if not action.option_strings:
        optional = action.nargs in {"?", "*", argparse.REMAINDER}
        return Argument(value, f"[{value}]{many}" if optional else f"{value}{many}", told, False)
    words = ", ".join(action.option_strings) + (f" {value}" if value else "")
    if action.nargs == "?":
        words = ", ".join(action.option_strings) + f" [{value}]"
    usage = action.option_strings[0] + (f" {value}" if value else "")
    return Argument(words, f"{usage}{many}" if action.required else f"[{usage}]{many}", told, True)


def walk(commands: list[CommandFacts]) -> Iterator[CommandFacts]:
    """Commands and their actions."""
    for each in commands:
        yield each
        yield from walk(list(each.actions))
