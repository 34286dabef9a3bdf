"""Throughput of two of our stacks over loss and buffer, in virtual time: the same in every run.

`python tests/stack/pair_throughput.py > tests/testing/throughput.txt` writes the snapshot that the test compares with.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

from pair_rig import Rig

from tunflow.testing.clock import START
from tunflow.testing.link import Conditions

RATE = 100e6
DELAY = 0.01
LOSSES = (0.0, 0.001, 0.01, 0.05, 0.1)
BUFFERS = (16, 64, 256, 1024)
"""KiB in front of the slow wire; the path holds 244 KiB itself."""
SIZE = 3_000_000
SEEDS = (1, 2, 3)
PATIENCE = 3600.0
"""Seconds of virtual time for one transfer."""

HEAD = """\
Two stacks, one flow of 3 MB over 100 Mbit/s, 20 ms round trip, MTU 1500; loss both ways; medians of three seeds.
Written by: python tests/stack/pair_throughput.py > tests/testing/throughput.txt
"""


class Outcome(NamedTuple):
    megabits: float
    """Per second, of payload, from SYN to the last byte."""
    repeated: float
    """Segments sent again, in percent of those that the payload needs."""


def transfer(loss: float, buffer: int, seed: int) -> Outcome:
    """One transfer; each byte is checked. Raises AssertionError when it does not end well."""
    conditions = Conditions(loss=loss, rate=RATE, buffer=buffer * 1024, delay=DELAY)
    rig = Rig(conditions, seed=seed)
    flow = rig.connect()
    flow.opener.to_send, flow.opener.closes = SIZE, True
    assert rig.pair.run(lambda: flow.answerer is not None and flow.answerer.saw_end, PATIENCE), "it stalls"
    assert flow.answerer is not None
    assert flow.answerer.received == SIZE
    seconds = rig.pair.now - START
    repeated = flow.opener.connection.sender.retransmissions * flow.opener.connection.mss / SIZE
    return Outcome(SIZE * 8 / seconds / 1e6, 100 * repeated)


def median(outcomes: list[Outcome]) -> Outcome:
    """The one in the middle by throughput."""
    return sorted(outcomes)[len(outcomes) // 2]


def table() -> str:
    """The snapshot."""
    rows = {
        loss: [median([transfer(loss, buffer, seed) for seed in (SEEDS if loss else SEEDS[:1])]) for buffer in BUFFERS]
        for loss in LOSSES
    }
    head = "loss \\ buffer " + "".join(f"{f'{buffer} KiB':>10}" for buffer in BUFFERS) + "\n"
    lines = [HEAD, "Mbit/s\n", head]
    for loss, outcomes in rows.items():
        lines.append(f"{loss:13.1%} " + "".join(f"{outcome.megabits:10.2f}" for outcome in outcomes) + "\n")
    lines += ["\nSegments sent again, %\n", head]
    for loss, outcomes in rows.items():
        lines.append(f"{loss:13.1%} " + "".join(f"{outcome.repeated:10.1f}" for outcome in outcomes) + "\n")
    return "".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table())
