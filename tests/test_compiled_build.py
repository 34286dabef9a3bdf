"""TUNFLOW_COMPILE=1 makes a wheel whose hot path is machine code, which passes the tests of what was compiled."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NICENESS = os.getpriority(os.PRIO_PROCESS, 0)
MACHINES = ["tests/wire", "tests/stack", "tests/loop", "tests/dataplane", "tests/protocols/shadowsocks"]
"""Where the tests of what is compiled are."""
LONG = "tests/stack/test_stack_pairs_throughput.py"
"""Bulk in simulated networks, 40 s of it, through nothing that the files beside it do not go through."""
COMMANDS = [
    "tests/lab/test_lab_run.py::test_server_from_the_environment",
    "tests/lab/test_lab_up.py::test_up_status_down",
]
"""A `run` and an `up` that curl fetches through."""
RUN_TESTS = """
import sys
from pathlib import Path
import pytest

status = pytest.main(["-q", "-p", "no:cacheprovider", "--hypothesis-profile", "repeatable", *sys.argv[2:]])
folder = Path(sys.argv[1])
libraries = {".".join(path.relative_to(folder).parent.parts) + f".{path.name.partition('.')[0]}": path
             for path in folder.joinpath("tunflow").rglob("*.so")}
loaded = {name: Path(sys.modules[name].__file__) for name in libraries if name in sys.modules}
assert "tunflow.wire.checksum" in loaded
assert [path for name, path in loaded.items() if path != libraries[name]] == []
print(len(loaded), "compiled modules")
sys.exit(status)
"""
"""Runs tests in its process; fails if that process has a module interpreted that there is compiled."""


@pytest.fixture(scope="module")
def compiled() -> Iterator[Path]:
    """A folder with the compiled package, for all users to read: a tunnel goes on as an unprivileged one.

    Quickly compiled, not for speed; beside tests that watch the clock.
    """
    above = Path(tempfile.mkdtemp(prefix="tunflow-"))
    above.chmod(0o755)
    try:
        folder = above / "compiled"
        _install(folder)
        yield folder
    finally:
        shutil.rmtree(above, ignore_errors=True)


def _install(folder: Path) -> None:
    command = ["nice", "-n", "5", sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--target", str(folder), str(ROOT)]
    environment = {**os.environ, "TUNFLOW_COMPILE": "1", "TUNFLOW_OPT_LEVEL": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=2400)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def run_tests(compiled: Path, *arguments: str) -> str:
    """Have a pytest of its own run tests with the compiled package. Its temporary files are not where that is."""
    temporary = compiled.with_name("t")
    temporary.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(compiled), "TMPDIR": str(temporary), "TUNFLOW_LAB_BYTES": "1000000"}
    as_others = str(NICENESS - os.getpriority(os.PRIO_PROCESS, 0))  # conftest.py adds to it here, and once more there
    command = ["nice", "-n", as_others, sys.executable, "-c", RUN_TESTS, str(compiled), *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=2400)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    return done.stdout


def run(compiled: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run tunflow out of the folder, which comes before the installation that runs the tests."""
    environment = {**os.environ, "PYTHONPATH": str(compiled)}
    command = [sys.executable, "-m", "tunflow", *arguments]
    return subprocess.run(
        command, cwd=compiled, env=environment, capture_output=True, text=True, check=False, timeout=180
    )


def test_it_says_so(compiled: Path) -> None:
    assert run(compiled, "--version").stdout.endswith(" (compiled)\n")


def test_every_module_can_be_imported(compiled: Path) -> None:
    program = (
        "import importlib, pathlib, sys\n"
        "for path in sorted(pathlib.Path('tunflow').rglob('*.so')):\n"
        "    name = '.'.join(path.with_name(path.name.split('.')[0]).parts)\n"
        "    assert importlib.import_module(name).__file__.endswith('.so'), name\n"
        "    print(name)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(compiled)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=compiled, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"tunflow.stack.stack", "tunflow.dataplane.driver", "tunflow.host.tun"} <= set(done.stdout.split())


def test_its_machines_pass_their_tests(compiled: Path) -> None:
    run_tests(compiled, "-m", "not interpreted and not lab", "--ignore", LONG, *MACHINES)


@pytest.mark.lab
def test_its_commands_pass_their_tests(compiled: Path) -> None:
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("the lab needs root (network namespaces): NOT RUN")
    assert "2 passed" in run_tests(compiled, *COMMANDS)


def test_the_demo(compiled: Path) -> None:
    done = run(compiled, "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "checked" in done.stdout


def test_a_switch_that_means_nothing_is_one_line() -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", str(ROOT)]
    environment = {**os.environ, "TUNFLOW_COMPILE": "maybe"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode != 0
    assert "TUNFLOW_COMPILE='maybe': 1 compiles, 0 or nothing builds pure Python" in done.stdout + done.stderr
