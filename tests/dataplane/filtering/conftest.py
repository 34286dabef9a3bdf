"""Benches of `filter_rig`, closed when the test is over."""

from __future__ import annotations

import pytest
from filter_rig import Bench, UDPBench


@pytest.fixture
def make():
    made = []

    def build(*arguments, **options):
        made.append(Bench(*arguments, **options))
        return made[-1]

    yield build
    for bench in made:
        bench.close()


@pytest.fixture
def udp_bench():
    made = []

    def build(judge):
        made.append(UDPBench(judge))
        return made[-1]

    yield build
    for bench in made:
        bench.close()
