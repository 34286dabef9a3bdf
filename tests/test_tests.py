"""What tests may do: look at public names only, never sleep outside of the lab, draw from seeds only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

PUBLIC = {"_replace", "_asdict", "_fields", "_make", "_exit"}
"""What is documented all the same: a named tuple's, so that they are no fields, and `os._exit`."""
REPLACING = {"setattr", "getattr", "delattr"}
GENERATORS = {"Random", "SystemRandom"}
STRIPPING = {"strip", "lstrip", "rstrip"}
DRAWING = {"chance.py", "test_chance.py"}
"""What has to do with `random` itself."""


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


def draws(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """What draws other numbers in each run: functions of `random` itself, and generators without a seed."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "random" and node.attr not in GENERATORS:
            yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and node.module == "random":
            yield from ((node.lineno, each.name) for each in node.names if each.name not in GENERATORS)
        elif isinstance(node, ast.Call) and not node.args and ast.unparse(node.func) in {"Random", "random.Random"}:
            yield node.lineno, ast.unparse(node)


def zeros_cut_off(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Zero bytes taken for padding, which they need not be: one random byte in 256 is such a byte."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in STRIPPING:
            for given in node.args:
                if isinstance(given, ast.Constant) and isinstance(given.value, bytes) and b"\0" in given.value:
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


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("random.randbytes(5)", 1),
        ("Client(random.randbytes)", 1),
        ("random.Random()", 1),
        ("from random import choice", 1),
        ("random.Random(7).randbytes(5)", 0),
        ("from random import Random", 0),
        ("self.random.random()", 0),
        ("dice.choice(each)", 0),
    ],
)
def test_draws_without_a_seed_are_found(source: str, count: int) -> None:
    assert len(list(draws(ast.parse(source)))) == count


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("sealed.rstrip(b'\\0')", 1),
        ("sealed.strip(b' \\0')", 1),
        ("encoded.rstrip(b'=')", 0),
        ("text.strip()", 0),
        ("text.strip('\\0')", 0),
    ],
)
def test_zeros_cut_off_are_found(source: str, count: int) -> None:
    assert len(list(zeros_cut_off(ast.parse(source)))) == count


def test_tests_look_at_public_names_only() -> None:
    assert found(private_names, TESTS.rglob("*.py")) == []


def test_only_the_lab_sleeps() -> None:
    assert found(sleeps, (path for path in TESTS.rglob("*.py") if not {"lab", "machine"} & {*path.parts})) == []


def test_tests_draw_from_seeds_only() -> None:
    assert found(draws, (path for path in TESTS.rglob("*.py") if path.name not in DRAWING)) == []


def test_no_test_takes_zeros_for_padding() -> None:
    assert found(zeros_cut_off, TESTS.rglob("*.py")) == []
