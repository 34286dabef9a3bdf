"""The shape of the source: imports point one way, so no file needs another that needs it; nothing is too long."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tunflow

ROOT = Path(tunflow.__file__).parent

LONGEST_FUNCTION = 60
LONGEST_FILE = 500
"""Lines."""
LONGER: dict[str, str] = {}
"""Exceptions, as `folder/file.py` or `folder/file.py function`, each with its reason."""


def functions(source: str) -> list[tuple[str, int]]:
    """The functions of a file, with their lines."""
    return [
        (node.name, (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def imports(tree: ast.AST, files: dict[str, Path]) -> set[str]:
    """The files of ours that one names, those for the type checker included."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inner = {f"{node.module}.{each.name}" for each in node.names}
            found |= inner & files.keys() or {node.module} & files.keys()
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names} & files.keys()
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """What is left when everything is taken away that needs nothing, or that nothing needs, again and again."""
    left = {name: set(needs) for name, needs in graph.items()}
    while True:
        needed = set().union(*left.values()) if left else set()
        over = [name for name, needs in left.items() if not needs & left.keys() or name not in needed]
        if not over:
            break
        for name in over:
            del left[name]
    return sorted([name, *sorted(needs & left.keys())] for name, needs in left.items())


def test_no_circle_of_files():
    files = {
        ".".join(("tunflow", *path.relative_to(ROOT).with_suffix("").parts)): path
        for path in ROOT.rglob("*.py")
        if path.name != "__init__.py"
    }
    graph = {name: imports(ast.parse(path.read_text()), files) - {name} for name, path in files.items()}
    found = circles(graph)
    assert not found, "files that need each other:\n" + "\n".join(f"{a} -> {', '.join(b)}" for a, *b in found)


@pytest.mark.parametrize(
    ("graph", "names"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}, ["b", "c"]),
    ],
)
def test_circles_are_found(graph, names):
    assert [name for name, *_ in circles(graph)] == names


def test_no_file_and_no_function_is_too_long():
    found: dict[str, int] = {}
    for path in ROOT.rglob("*.py"):
        source, name = path.read_text(), str(path.relative_to(ROOT))
        if (lines := source.count("\n")) > LONGEST_FILE:
            found[name] = lines
        found |= {f"{name} {each}": lines for each, lines in functions(source) if lines > LONGEST_FUNCTION}
    assert {name: lines for name, lines in found.items() if name not in LONGER} == {}
    assert not LONGER.keys() - found.keys(), "exceptions that are none any more"


def test_lines_of_functions_are_counted():
    assert functions("def f():\n    pass\n\n\nasync def g(\n    a,\n):\n    return a\n") == [("f", 2), ("g", 4)]
