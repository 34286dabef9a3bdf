"""Mixed load for half a minute: everybody is served, and memory and descriptors stay where they are.

`python -m bench.soak` does the same for an hour.
"""

from __future__ import annotations

import pytest
from bench.soak import soak
from lab_support import Tunnel

pytestmark = pytest.mark.lab

SECONDS = 20
"""A round lasts about nine seconds, and three are needed."""


def test_mixed_load_leaves_memory_and_descriptors_flat(tunnel: Tunnel) -> None:
    assert soak(tunnel.lab, SECONDS, pause=0.0) == []
