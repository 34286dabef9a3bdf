"""What code costs, told so that a busy machine says the same: in executed lines, in calls, in memory, or in how much
longer it takes than other code in the same run. Seconds are the bench's matter.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from resource import getpagesize
from time import process_time
from types import FrameType
from typing import Any

PAGE_SIZE = getpagesize()


def lines_executed(run: Callable[[], object]) -> int:
    """Python lines that `run` executes, in all that it calls too. What one line does inside C counts as one."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return count


def calls_made(run: Callable[[], object]) -> int:
    """Python functions that `run` calls, and those that they call."""
    count = 0

    def profile(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(before)
    return count


def resident_memory() -> int:
    """Bytes of this process that are in memory now, those of C libraries too."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_SIZE


def times_slower(run: Callable[[], object], other: Callable[[], object], rounds: int = 20) -> float:
    """How many times the CPU time of `other` one call of `run` takes.

    They take turns, and the best turn of each counts, so that what else the machine does hardly matters.
    """
    numbers = _enough(run), _enough(other)
    turns: list[tuple[float, float]] = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            turns.append((_seconds(run, numbers[0]) / numbers[0], _seconds(other, numbers[1]) / numbers[1]))
    finally:
        if collecting:
            gc.enable()
    return min(ran for ran, _ in turns) / min(ran for _, ran in turns)


def least(measure: Callable[[], float], limit: float, turns: int = 5) -> float:
    """The least of what `measure` tells in so many turns, or the first below `limit`: a busy machine only ever adds."""
    found = measure()
    for _ in range(turns - 1):
        if found < limit:
            break
        found = min(found, measure())
    return found


def _enough(which: Callable[[], object]) -> int:
    """How many calls take long enough for a clock."""
    number = 1
    while number < 1 << 20 and _seconds(which, number) < 0.002:
        number *= 2
    return number


def _seconds(which: Callable[[], object], number: int) -> float:
    start = process_time()
    for _ in range(number):
        which()
    return process_time() - start
