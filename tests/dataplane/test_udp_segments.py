"""Which datagrams leave in one call."""

from __future__ import annotations

import pytest

from tunflow.loop.udp_segments import end_of_run
from tunflow.stack.udp import MAX_BATCH


@pytest.mark.parametrize(
    ("sizes", "end"),
    [
        ([100], 1),
        ([100, 100, 100], 3),
        ([100, 100, 60, 60], 3),
        ([100, 101], 1),
        ([100, 100, 101], 2),
        ([100, 0, 100], 1),
        ([0, 0], 1),
        ([100] * 200, MAX_BATCH),
        ([900, 900, 900], 2),
    ],
)
def test_end_of_run(sizes: list[int], end: int) -> None:
    largest = 2000 if 900 in sizes else 60_000
    assert end_of_run([bytes(size) for size in sizes], 0, largest) == end


def test_it_begins_anywhere() -> None:
    assert end_of_run([b"a", b"bb", b"bb", b"c"], 1, 60_000) == 4
