"""Every fuzz target takes its corpus and a fixed number of mutations of it: the same in every run.

`python fuzz/run.py` goes on at random from there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "fuzz"))

from target import Target, names


@pytest.mark.parametrize("name", names())
def test_nothing_known_breaks_it(name: str) -> None:
    data = Target(name).repeatable()
    assert data is None, f"broken by {data.hex()}"
