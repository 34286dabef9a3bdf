"""What tests may do: look at public names only, and never sleep outside of the lab."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

PUBLIC = {"_replace", "_asdict", "_fields", "_make", "_exit"}
"""What is documented all the same: a named tuple's, so that they are no fields, and `os._exit`."""
REPLACING = {"setattr", "getattr", "delattr"}


def is_private(name: str) -> bool:
    """Return True for `_name`, but not for `__name__`."""
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def private_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Private names that a file reads, sets, replaces or imports, with their lines; its own `self._x` is no such."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = node.value
            is_own = isinstance(owner, ast.Name) and owner.id in {"self", "cls"}
            is_super = isinstance(owner, ast.Call) and ast.unparse(owner.func) == "super"
            if not is_own and not is_super:
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, each.name) for each in node.names if is_private(each.name))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in {
            "setattr",
            "getattr",
            "delattr",
        }:
            for given in node.args[:2]:
                if isinstance(given, ast.Constant) and isinstance(given.value, str):
                    yield from ((node.lineno, given.value) for part in given.value.split(".") if is_private(part))


def sleeps(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Calls that wait for the clock; `asyncio.sleep(0)` only lets others run."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "sleep", "asyncio.sleep"}:
            first = node.args[0] if node.args else None
            if not isinstance(first, ast.Constant) or first.value != 0:
                yield node.lineno, ast.unparse(node)


def found(check, files: Iterator[Path]) -> list[str]:
    return [
        f"{path.relative_to(TESTS)}:{line}: {text}"
        for path in files
        for line, text in check(ast.parse(path.read_text()))
    ]


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("made._flows", 1),
        ("self._flows", 0),
        ("super()._flows", 0),
        ("value._replace(a=1)", 0),
        ("value.__dict__", 0),
        ("from a import _b", 1),
        ("monkeypatch.setattr(a, '_b', 1)", 1),
        ("monkeypatch.setattr('a._b.c', 1)", 1),
        ("monkeypatch.setattr('a.b', 1)", 0),
    ],
)
def test_private_names_are_found(source: str, count: int) -> None:
    assert len(list(private_names(ast.parse(source)))) == count


@pytest.mark.parametrize(
    ("source", "count"),
    [("time.sleep(1)", 1), ("asyncio.sleep(0.1)", 1), ("asyncio.sleep(0)", 0), ("rig.sleep(1)", 0), ("sleep(1)", 1)],
)
def test_sleeps_are_found(source: str, count: int) -> None:
    assert len(list(sleeps(ast.parse(source)))) == count


def test_tests_look_at_public_names_only() -> None:
    assert found(private_names, TESTS.rglob("*.py")) == []


def test_only_the_lab_sleeps() -> None:
    assert found(sleeps, (path for path in TESTS.rglob("*.py") if not {"lab", "machine"} & {*path.parts})) == []
