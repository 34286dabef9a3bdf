"""The tests' own guard: what one of them leaves behind is seen, and what our code leaves by design is undone."""

from __future__ import annotations

import gc
import os
import signal
import sys
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from process_state import changes, process_state, put_back
from tunflow.cli.serving_context import prepare_process
from tunflow.providers.loader import load_provider


class Cycle:
    """What only the garbage collector ends."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.parametrize(
    ("name", "change", "undo"),
    [
        ("environment", lambda: os.environ.update(LEFT="1"), lambda: os.environ.pop("LEFT")),
        ("umask", lambda: os.umask(0o027), lambda: os.umask(0o022)),
        (
            "signal handlers",
            lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN),
            lambda: signal.signal(signal.SIGUSR2, signal.SIG_DFL),
        ),
        ("recursion limit", lambda: sys.setrecursionlimit(999), lambda: sys.setrecursionlimit(1000)),
    ],
)
def test_what_is_left_is_named(name: str, change: Callable[[], object], undo: Callable[[], object]) -> None:
    before = process_state()
    change()
    try:
        (line,) = changes(before, process_state())
    finally:
        undo()
    assert line.startswith(f"{name}: ")


def test_a_users_provider_and_the_collector_are_put_back(tmp_path: Path) -> None:
    file = tmp_path / "left_provider.py"
    file.write_text("from tunflow.providers.app_proxy import AppProxyProvider\nclass Left(AppProxyProvider): ...\n")
    before = process_state(), list(sys.path)
    cycle = Cycle()
    left = weakref.ref(cycle)
    with put_back(tmp_path):
        load_provider(f"{file}:Left", where="here")
        prepare_process()
        del cycle
        assert left() is not None, "something else than the collector ended it"
        assert str(tmp_path) in sys.path
        assert "left_provider" in sys.modules
    assert (process_state(), sys.path) == before
    assert "left_provider" not in sys.modules
    assert left() is None, "what the test left is kept from the collector"
    assert gc.get_freeze_count() > 0, "what was collected is looked at again"
