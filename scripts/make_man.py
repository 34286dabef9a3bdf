#!/usr/bin/env python3
"""Writes docs/man/*.1 out of the table of commands. tests/test_man.py checks that it was run.

Read first: man-pages(7), groff_man(7).
"""

from __future__ import annotations

from pathlib import Path

from command_facts import CommandFacts, all_commands

from tunflow.cli.command_line import DESCRIPTION

FOLDER = Path(__file__).parent.parent / "docs/man"

ENVIRONMENT = {
    "TUNFLOW_SERVER": "Servers' links, separated by spaces, where no --server is given. No list of processes shows it.",
    "TUNFLOW_API_SECRET": "What the API of dashboards asks for.",
    "TUNFLOW_LISTEN_USER": "USER:PASSWORD that clients of tunflow listen must show.",
    "TUNFLOW_DATA_DIR": "Where lists are kept, in place of /var/lib/tunflow or ~/.local/share/tunflow.",
    "TUNFLOW_RUNTIME_DIR": "Where a tunnel's socket and log are, in place of /run/tunflow or $XDG_RUNTIME_DIR/tunflow.",
    "NO_COLOR": "No colours, whatever its value.",
}
STATUS = {
    "0": "It was done.",
    "1": "It failed: a server, the network, the system.",
    "2": "What was asked for cannot be: one line says which option, file and line, and what is accepted.",
    "130": "It was interrupted (Ctrl-C).",
}


def pages() -> dict[str, str]:
    """The name and text of every page."""
    commands = all_commands()
    made = {"tunflow.1": _main(commands)}
    return made | {f"tunflow-{each.name}.1": _page(each) for each in commands}


def _main(commands: list[CommandFacts]) -> str:
    lines = [
        _title("tunflow", DESCRIPTION.rstrip(".").lower()),
        ".SH SYNOPSIS",
        ".B tunflow",
        r".I COMMAND",
        "[options]",
        ".SH DESCRIPTION",
        _text(DESCRIPTION + " Each command has a page of its own, such as tunflow-run(1)."),
        ".SH COMMANDS",
    ]
    for each in commands:
        lines += [".TP", rf".BR tunflow\-{_text(each.name)} (1)", _text(_sentence(each.line))]
    lines += [".SH ENVIRONMENT", *_pairs(ENVIRONMENT), ".SH EXIT STATUS", *_pairs(STATUS)]
    return "\n".join(lines) + "\n"


def _page(facts: CommandFacts) -> str:
    lines = [
        _title(f"tunflow-{facts.name}", facts.line),
        ".SH SYNOPSIS",
        *_usage(facts),
        ".SH DESCRIPTION",
        _text(facts.description),
        *_arguments(facts),
    ]
    if facts.actions:
        lines.append(".SH ACTIONS")
        for action in facts.actions:
            lines += [f".SS {_text(action.name.partition(' ')[2])}", *_usage(action), ".PP", _text(action.description)]
            lines += [each for each in _arguments(action) if not each.startswith(".SH")]
    lines += [".SH SEE ALSO", ".BR tunflow (1)"]
    return "\n".join(lines) + "\n"


def _title(name: str, line: str) -> str:
    return "\n".join((
        f'.TH "{_text(name.upper())}" 1 "" "tunflow" "User Commands"',
        ".ad l",  # links are long, and groff complains of lines that it cannot stretch
        ".ds AD l",  # the same for groff 1.23, which begins every paragraph with what this says
        ".SH NAME",
        rf"{_text(name)} \- {_text(line)}",
    ))  # fmt: skip


def _usage(facts: CommandFacts) -> list[str]:
    return [".nh", _text(facts.usage), ".hy"]


def _arguments(facts: CommandFacts) -> list[str]:
    lines = []
    for title, wanted in (("ARGUMENTS", False), ("OPTIONS", True)):
        found = [each for each in facts.arguments if each.is_option is wanted]
        if found:
            lines.append(f".SH {title}")
        for each in found:
            lines += [".TP", f".B {_text(each.words)}", _text(_sentence(each.help))]
    return lines


def _pairs(table: dict[str, str]) -> list[str]:
    return [line for name, text in table.items() for line in (".TP", f".B {_text(name)}", _text(text))]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}" if text else ""


def _text(text: str) -> str:
    """Words as they are: a backslash, a hyphen that may be copied, a line that begins like a request."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("…", "...")
    return rf"\&{text}" if text[:1] in {".", "'"} else text


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.1"):
        old.unlink()
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
