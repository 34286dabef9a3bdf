#!/usr/bin/env python3
"""Writes docs/reference/commands.md and profile.md out of the code. tests/test_reference.py checks that it was run."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from command_facts import CommandFacts, all_commands
from pydantic_core import PydanticUndefined

from tunflow.profiles.profile import Profile
from tunflow.profiles.section import Section

FOLDER = Path(__file__).parent.parent / "docs/reference"

COMMANDS_FROM = "Made from the table of commands; `tunflow COMMAND --help` and `man tunflow-COMMAND` say the same."
KEYS_FROM = "Made from the code that reads profiles; [Profiles](../profiles.md) shows them at work."
KEYS_HEAD = ("| key | type | default | |", "|---|---|---|---|")
TYPES = {"str": "text", "bool": "true or false", "int": "number", "float": "number", "Any": "anything"}


def pages() -> dict[str, str]:
    """The name and text of every page."""
    return {"commands.md": commands_page(), "profile.md": profile_page()}


def commands_page() -> str:
    """Every command, as its `--help` tells."""
    lines = [
        "# Commands",
        "",
        COMMANDS_FROM,
        "",
    ]
    for each in all_commands():
        lines += _command(each, 2)
    return "\n".join(lines).rstrip() + "\n"


def _command(facts: CommandFacts, depth: int) -> list[str]:
    lines = [f"{'#' * depth} tunflow {facts.name}", "", _words(facts.description), "", "```", facts.usage, "```", ""]
    if facts.arguments:
        lines += ["| argument | |", "|---|---|"]
        lines += [f"| `{each.words}` | {_words(each.help)} |" for each in facts.arguments]
        lines.append("")
    for action in facts.actions:
        lines += _command(action, depth + 1)
    return lines


def profile_page() -> str:
    """Every table of a profile with its keys."""
    lines = [
        "# Profile keys",
        "",
        KEYS_FROM,
        "",
    ]
    for title, section in _sections(Profile, ""):
        lines += [
            f"## {title or 'At the top'}",
            "",
            _words(_first(section)),
            "",
            "| key | type | default | |",
            "|---|---|---|---|",
        ]
        told = _docstrings(section)
        for name, field in section.model_fields.items():
            if _section_of(field.annotation) is not None:
                continue
            default = _value(field.default)
            lines.append(f"| `{name}` | {_type(section, name)} | {default} | {_words(told.get(name, ''))} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _sections(section: type[Section], title: str) -> list[tuple[str, type[Section]]]:
    found = [(title, section)]
    for name, field in section.model_fields.items():
        inner = _section_of(field.annotation)
        if inner is None or inner is section:
            continue
        words = ast.unparse(_annotations(section)[name])
        path = f"{title.strip('`[]')}.{name}".lstrip(".")
        is_table, is_list = words.startswith("dict"), words.startswith("Many")
        shape = f"`[{path}.NAME]`" if is_table else f"`[[{path}]]`" if is_list else f"`[{path}]`"
        found += _sections(inner, shape)
    return found


def _section_of(annotation: Any) -> type[Section] | None:
    """The table that a key holds, or tables of; None for a value."""
    if inspect.isclass(annotation) and issubclass(annotation, Section):
        return annotation
    is_compound = get_origin(annotation) in {dict, tuple, list, Union, UnionType} or get_args(annotation)
    found = map(_section_of, get_args(annotation)) if is_compound else ()
    return next((each for each in found if each is not None), None)


def _class_of(section: type[Section]) -> ast.ClassDef:
    node = ast.parse(inspect.getsource(section)).body[0]
    assert isinstance(node, ast.ClassDef)
    return node


def _annotations(section: type[Section]) -> dict[str, ast.expr]:
    return {
        node.target.id: node.annotation
        for node in _class_of(section).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _docstrings(section: type[Section]) -> dict[str, str]:
    """What stands below each field."""
    body = _class_of(section).body
    found = {}
    for node, after in itertools.pairwise(body):
        is_field = isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        if is_field and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found[node.target.id] = " ".join(str(after.value.value).split())
    return found


def _first(section: type[Section]) -> str:
    return " ".join((section.__doc__ or "").split())


def _type(section: type[Section], name: str) -> str:
    words = ast.unparse(_annotations(section)[name])
    words = re.sub(r"Annotated\[(.+?), (?:Field|BeforeValidator|AfterValidator)\(.*", r"\1", words)
    words = words.replace(" | None", "").replace("'", '"')
    if words.startswith("Literal["):
        return ", ".join(f"`{each}`" for each in ast.literal_eval(f"[{words[8:-1]}]"))
    words = re.sub(r"Many\[(.+)\]", r"list of \1", words)
    words = re.sub(r"dict\[str, (.+)\]", r"table of \1", words)
    for old, new in TYPES.items():
        words = re.sub(rf"\b{old}\b", new, words)
    return words.replace("|", "or")


def _value(default: object) -> str:
    if default is None or default is PydanticUndefined or default == ():
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _words(text: str) -> str:
    """Words as Markdown leaves them alone."""
    return re.sub(r"([<>*|])", r"\\\1", " ".join(text.split()))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
