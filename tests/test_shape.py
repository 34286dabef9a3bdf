"""The shape of the source: imports point one way, so no file needs another that needs it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tunflow

ROOT = Path(tunflow.__file__).parent


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
