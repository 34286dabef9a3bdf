"""One emulated machine for all scenarios, started once; what went wrong inside is kept with the reports."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.machine import image, payload
from tests.machine.emulated import SPENT, Machine, MachineError
from tests.machine.image import Image
from tests.machine.payload import Payload

RESULTS = Path(tempfile.gettempdir()) / "tunflow-machine"
"""The console's log, and a journal for each scenario that failed."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--release", metavar="NAME", help="the emulated machine's release of Debian (default: this one's)")


def pytest_configure(config: pytest.Config) -> None:
    name = config.getoption("release", None)
    if name is not None and name not in image.releases():
        raise pytest.UsageError(f"--release {name}: there is {' and '.join(image.releases())}")


@pytest.fixture(scope="session")
def work() -> Iterator[Path]:
    """A folder on a disk, for disks."""
    RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="machine-") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def debian(pytestconfig: pytest.Config) -> Image:
    """Of the release that was asked for."""
    return image.made(pytestconfig.getoption("release") or image.own_release())


@pytest.fixture(scope="session")
def carried(debian: Image, work: Path) -> Payload:
    """tunflow as it is now."""
    return payload.made(debian, work)


@pytest.fixture(scope="session")
def machine(debian: Image, carried: Payload) -> Iterator[Machine]:
    with Machine(debian, carried.disk, RESULTS) as started:
        yield started


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()
    started = getattr(item, "funcargs", {}).get("machine")
    if report.when == "call" and report.failed and started is not None:
        path = RESULTS / f"{item.name}.journal"
        try:
            path.write_text(started.journal())
            report.sections.append(("machine", f"journal: {path}\n{started.journal('-n', '60')}"))
        except (MachineError, AssertionError) as error:
            report.sections.append(("machine", str(error)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the emulation cost."""
    for seconds in SPENT:
        terminalreporter.write_line(f"an emulated machine: {seconds:.0f} s of CPU")
