"""What mypyc compiles means the same compiled: what it gets wrong is not written (CONTRIBUTING, What compiles well)."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "tunflow"
HOOK = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"][
    "custom"
]
HOT = ["wire", "stack", "stack/tcp", "dataplane", "dataplane/tcp", "dataplane/udp", "loop", "protocols/shadowsocks"]
"""Folders that packets and flows go through: each of their files is compiled, or says why not."""

FILES = sorted(
    path
    for path in {found for pattern in HOOK["compiled"] for found in SOURCE.glob(pattern)}
    if path.name != "__init__.py" and str(path.relative_to(SOURCE)) not in HOOK["interpreted"]
)


def calls_in_slices(tree: ast.AST) -> Iterator[int]:
    """Lines where a bound of a slice calls something: mypyc 2.4 evaluates it twice for a memoryview."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
            bounds = [bound for bound in (node.slice.lower, node.slice.upper, node.slice.step) if bound is not None]
            for call in (part for bound in bounds for part in ast.walk(bound) if isinstance(part, ast.Call)):
                if not (isinstance(call.func, ast.Name) and call.func.id in {"len", "min", "max", "int"}):
                    yield call.lineno


def names_of_two_errors(tree: ast.AST) -> Iterator[int]:
    """Lines where one function catches a second type under a name: mypyc 2.4 takes the first type for both."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            seen: dict[str, str] = {}
            for node in ast.walk(function):
                if isinstance(node, ast.ExceptHandler) and node.name and node.type:
                    kind = ast.unparse(node.type)
                    if seen.setdefault(node.name, kind) != kind:
                        yield node.lineno


def memoryviews_in_fields(tree: ast.AST) -> Iterator[int]:
    """Lines where a dataclass or NamedTuple has a bare memoryview for a field: mypyc 2.4 does not find the name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and ast.unparse(field.annotation) == "memoryview":
                    yield field.lineno


@pytest.mark.parametrize("check", [calls_in_slices, names_of_two_errors, memoryviews_in_fields])
@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_what_mypyc_gets_wrong_is_not_written(path: Path, check) -> None:
    assert [f"{path.name}:{line}" for line in check(ast.parse(path.read_text()))] == []


@pytest.mark.parametrize(
    ("check", "line"),
    [
        (calls_in_slices, "data = view[: os.readv(fd, into)]"),
        (names_of_two_errors, "def f():\n try: g()\n except KeyError as e: h(e)\n except OSError as e: h(e)"),
        (memoryviews_in_fields, "class A(NamedTuple):\n payload: memoryview"),
    ],
)
def test_the_checks_find_it(check, line: str) -> None:
    assert list(check(ast.parse(line)))


def test_every_file_of_the_hot_path_is_compiled_or_says_why_not() -> None:
    hot = {path for folder in HOT for path in (SOURCE / folder).glob("*.py") if path.name != "__init__.py"}
    left = {str(path.relative_to(SOURCE)) for path in hot - set(FILES)}
    assert left <= set(HOOK["interpreted"])


def test_reasons_are_for_files_that_are_there() -> None:
    assert [path for path, reason in HOOK["interpreted"].items() if not (SOURCE / path).is_file() or not reason] == []


def test_the_version_says_which_it_is() -> None:
    from tunflow.wire import checksum

    line = subprocess.run(
        [sys.executable, "-m", "tunflow", "--version"], capture_output=True, text=True, check=True
    ).stdout
    kind = "pure Python" if str(checksum.__file__).endswith(".py") else "compiled"
    assert line.startswith("tunflow ")
    assert line.endswith(f" ({kind})\n")
