"""What all tests share: the root on the import path, signals by default, turns, repeatable examples and random numbers.

Who runs the tests in the background of a script has them ignore SIGINT and SIGQUIT, and what they start inherits that.

`./test` runs test files in parallel. A test that measures speed or load is marked `alone`: while it runs, the other
workers wait between two tests. Where we are root, what is not of the lab computes when the lab does not.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import hypothesis
import pytest

from chance import Chance
from own_home import own_home
from process_state import changes, process_state, put_back

CHANCE = Chance(os.environ.get("TUNFLOW_TEST_SEED", ""))
CHANCE.install()

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

for name, is_repeatable in (("default", False), ("repeatable", True)):
    hypothesis.settings.register_profile(
        name,
        derandomize=is_repeatable,
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
        print_blob=True,
    )
hypothesis.settings.load_profile("default")
"""`./test` uses "repeatable": the same examples in every run. Neither fails a test because the machine is busy."""

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


CLONE_NEWNET = 0x40000000


class OwnNetwork:
    """A network namespace with nothing but a loopback, of this process alone: a port that is free stays free whatever
    other workers do, and no packet of a test leaves the machine. Where nobody is root, the machine's own network."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._own: int | None = None
        if os.geteuid() == 0:
            self._check(self._libc.unshare(CLONE_NEWNET))
            self._own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            self._enter(self._home)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Be there with this thread, and with those that it starts."""
        if self._own is None:
            yield
            return
        self._enter(self._own)
        try:
            yield
        finally:
            self._enter(self._home)

    def _enter(self, namespace: int) -> None:
        self._check(self._libc.setns(namespace, CLONE_NEWNET))

    @staticmethod
    def _check(result: int) -> None:
        if result != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


MACHINE = Path(__file__).parent / "machine"
"""Its tests fetch packages, and use again what they made of them in the user's folders."""
BESIDE_THE_LAB = 5
"""How nice tests are to those of the lab, which watch the clock: a third of their share where both want a CPU."""


@contextmanager
def nicer(step: int) -> Iterator[None]:
    """Have this thread, and what it starts, run when others leave a CPU. Who is not root could not come back."""
    if os.geteuid() != 0:
        yield
        return
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, before + step)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


@pytest.fixture(autouse=True)
def _nothing_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail the test that leaves this process changed, and not one of those that come after it."""
    before = process_state()
    with put_back(tmp_path_factory.getbasetemp()):
        yield
    assert not changes(before, process_state())


OWN_NETWORK = pytest.StashKey[OwnNetwork]()
TURNS_KEY = pytest.StashKey[Turns]()
HOMES = pytest.StashKey[Path]()
DIRECTORY_KEY = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Each process has a network and homes of its own. The first makes the directory; its workers are told of it."""
    config.stash[OWN_NETWORK] = OwnNetwork()
    homes = tempfile.TemporaryDirectory(prefix="tunflow-homes-")
    config.add_cleanup(homes.cleanup)
    config.stash[HOMES] = Path(homes.name)
    worker: dict[str, str] | None = vars(config).get("workerinput")
    if worker is not None:
        config.stash[DIRECTORY_KEY] = worker[TURNS]
        config.stash[TURNS_KEY] = Turns(worker[TURNS])
        return
    directory = tempfile.TemporaryDirectory(prefix="tunflow-tests-")
    config.add_cleanup(directory.cleanup)
    config.stash[DIRECTORY_KEY] = directory.name


@pytest.fixture(scope="session")
def shared_directory(pytestconfig: pytest.Config) -> Path:
    """Where one of the processes of a run leaves what it has made for the others too."""
    return Path(pytestconfig.stash[DIRECTORY_KEY])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """pytest-xdist calls this for each worker before it starts."""
    config, worker = vars(node)["config"], vars(node)["workerinput"]
    worker[TURNS] = config.stash[DIRECTORY_KEY]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Setup, call and teardown are one turn. The lab makes its own networks, from the machine's."""
    is_apart = MACHINE not in item.path.parents
    with ExitStack() as stack:
        if (turns := item.config.stash.get(TURNS_KEY, None)) is not None:
            stack.enter_context(turns.take(alone=item.get_closest_marker("alone") is not None))
        if item.get_closest_marker("lab") is None:
            stack.enter_context(nicer(BESIDE_THE_LAB))
            stack.enter_context(CHANCE.seeded(item.nodeid))
            if is_apart:
                stack.enter_context(item.config.stash[OWN_NETWORK].inside())
                stack.enter_context(own_home(item.config.stash[HOMES]))
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """What a file draws while it is imported, for parameters say, is drawn from its name."""
    with CHANCE.seeded(collector.nodeid):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """What is imported and collected stays to the end: the garbage collector need not look at it, now or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with tests that run alone come first, and in them those tests: later everybody would wait for whoever is in
    the middle of a long test, with a CPU idle. The lab's tests wait much and compute little, so the others are spread
    among them. What takes long begins (those of this folder, and of the lab those with many tests), so that no worker
    has a long file left at the end."""
    here = Path(__file__).parent
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    alone, lab, long, short = [], [], [], []
    for tests in files.values():
        tests.sort(key=lambda test: test.get_closest_marker("alone") is None)
        is_alone = tests[0].get_closest_marker("alone") is not None
        is_lab = any(test.get_closest_marker("lab") for test in tests)
        kind = alone if is_alone else long if tests[0].path.parent == here else lab if is_lab else short
        kind.append(tests)
    lab.sort(key=len, reverse=True)
    placed = [
        (end * index / len(kind), tests)
        for kind, end in ((alone, 0.0), (long, 0.3), (lab, 0.8), (short, 1.0))
        for index, tests in enumerate(kind)
    ]
    items[:] = [item for _, tests in sorted(placed, key=lambda at: at[0]) for item in tests]
