"""The lock files belong to the dependencies that pyproject.toml has now."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["run", "dev"])
def test_the_lock_is_of_these_dependencies(name: str) -> None:
    script = "source scripts/setup.sh; lock_title"
    title = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    first = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()[0]
    assert first == title.strip(), "run scripts/lock.sh and commit what it writes"
