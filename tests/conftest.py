"""What all tests share: the repository's root on the import path, signals by default, turns, and repeatable examples.

Who runs the tests in the background of a script has them ignore SIGINT and SIGQUIT, and what they start inherits that.

`./test` runs test files in parallel. A test that measures speed or load is marked `alone`: while it runs, the other
workers wait between two tests.
"""

from __future__ import annotations

import fcntl
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, print_blob=True)
"""What `./test` uses: the same examples in every run, and no example fails for being slow on a busy machine."""

TURNS = "tunflow_turns"
"""The key under which a worker is told the directory of `Turns`."""


class Turns:
    """Tests side by side, or one with nothing beside it; the same for all processes that are given the directory.

    Who waits to be alone stands in the door, so that nobody can enter before it and it cannot wait for ever.
    """

    def __init__(self, directory: str) -> None:
        self.door = (Path(directory) / "door").open("w")
        self.room = (Path(directory) / "room").open("w")

    @contextmanager
    def take(self, *, alone: bool) -> Iterator[None]:
        """Hold the room while a test runs."""
        fcntl.flock(self.door, fcntl.LOCK_EX)
        fcntl.flock(self.room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(self.door, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self.room, fcntl.LOCK_UN)


TURNS_KEY = pytest.StashKey[Turns]()
DIRECTORY_KEY = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """The first process makes the directory; its workers are told of it."""
    worker: dict[str, str] | None = vars(config).get("workerinput")
    if worker is not None:
        config.stash[TURNS_KEY] = Turns(worker[TURNS])
        return
    directory = tempfile.TemporaryDirectory(prefix="tunflow-tests-")
    config.add_cleanup(directory.cleanup)
    config.stash[DIRECTORY_KEY] = directory.name


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """pytest-xdist calls this for each worker before it starts."""
    config, worker = vars(node)["config"], vars(node)["workerinput"]
    worker[TURNS] = config.stash[DIRECTORY_KEY]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Setup, call and teardown are one turn."""
    turns = item.config.stash.get(TURNS_KEY, None)
    if turns is None:
        return (yield)
    with turns.take(alone=item.get_closest_marker("alone") is not None):
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The lab's tests wait much and compute little: they begin, and the others fill the gaps at the end."""
    items.sort(key=lambda item: item.get_closest_marker("lab") is None)
