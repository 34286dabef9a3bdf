"""TUNFLOW_COMPILE=1 makes a wheel whose hot path is machine code, and it carries traffic."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the compiled package. Quickly compiled, not for speed; beside tests that watch the clock."""
    folder = tmp_path_factory.mktemp("compiled")
    command = ["nice", "-n", "19", sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--target", str(folder), str(ROOT)]
    environment = {**os.environ, "TUNFLOW_COMPILE": "1", "TUNFLOW_OPT_LEVEL": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


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
