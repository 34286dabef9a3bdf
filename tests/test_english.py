"""What docstrings say of truth: "Return True if …" of a function, "True if …" of a property or an attribute."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src/tunflow"

SAYS = re.compile(r"\b(Return )?(True|False) (if|when|for)\b|^Return (True|False)\b|^As (`|the )", re.MULTILINE)


def remarks(tree: ast.AST) -> Iterator[ast.Constant]:
    """Every string that is a statement: docstrings, and what stands below an attribute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value


def complaints(source: str) -> list[str]:
    """What is wrong with the docstrings of a file, with their lines."""
    tree = ast.parse(source)
    found = [
        f"{each.lineno}: begins with 'Whether'" for each in remarks(tree) if str(each.value).startswith("Whether ")
    ]
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.returns is None:
            continue
        text = ast.get_docstring(node)
        if text is None or ast.unparse(node.returns) != "bool":
            continue
        if "; whether " in text or not SAYS.search(text):
            found.append(f"{node.lineno}: {node.name} does not say when it is true: {text.splitlines()[0]}")
    return found


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('def f() -> bool:\n    """Return True if it holds."""', 0),
        ('def f() -> bool:\n    """Whether it holds."""', 2),
        ('def f() -> bool:\n    """Do it; whether it worked."""', 1),
        ('def f() -> bool:\n    """Do it. Return False if it failed."""', 0),
        ('class A:\n    a: bool\n    """Whether it holds."""', 1),
        ('class A:\n    a: bool\n    """True if it holds."""', 0),
    ],
)
def test_the_check_finds_what_it_is_for(source: str, count: int) -> None:
    assert len(complaints(source)) == count


def test_docstrings_say_when_something_is_true() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{each}" for path in SOURCE.rglob("*.py") for each in complaints(path.read_text())
    ]
    assert not found, "\n".join(found)
